"""Scoring and writing of predictions, per task and image by image."""
import os.path as osp
from collections.abc import Sequence

import numpy as np
from mmcv.utils import print_log
from prettytable import PrettyTable

from mbos.metrics import sums as metrics
from mbos.metrics.bootstrap import Bootstrap
from mbos.metrics.report import compute
from mbos.metrics.sums_store import StoredSums, remove_sums, save_sums
from mbos.metrics.tables import summary
from mbos.tasks import Task

Prediction = dict[str, np.ndarray]


class ScoringMixin:
    """What a dataset does with predictions; see PartialLabelDataset.

    Attributes:
        sums_folder (str, optional): Where the sums of images wait until all
            images are done, so that memory does not grow with their number;
            None keeps them in memory.
        operating_points (dict): Further thresholds to score at: {task: {name:
            {class: threshold}}}.
    """

    sums_folder = None
    operating_points: dict[str, dict] = {}

    def scored_task(self, task: Task) -> Task:
        """Get the task of the classes that this dataset labels."""
        folder = self.truth.get(task.name)
        return task if folder is None else task.part(folder.classes)

    def points_of(self, task: Task) -> dict[str, list[float]]:
        """Get the further operating points of a task by name."""
        points = self.operating_points.get(task.name, {})
        return {
            name: [values[c] for c in task.classes]
            for name, values in points.items()
        }

    def pre_eval(self, preds: Prediction | list[Prediction],
                 indices: int | Sequence[int]) -> list[dict[str, dict]]:
        """Reduce predictions to the sums that the metrics need.

        Args:
            preds: Probabilities of shape (C, H, W) by task, at the size of the
                prepared image; one or several images.
            indices: Positions of the images.

        Returns:
            list[dict | str]: For each image the sums by task, of the tasks
            that have ground truth here; with ``sums_folder``, where they are.
        """
        preds = [preds] if isinstance(preds, dict) else list(preds)
        indices = list(indices) if isinstance(indices,
                                              (list, tuple)) else [indices]
        if len(preds) != len(indices):
            raise ValueError(f'Got {len(preds)} predictions for '
                             f'{len(indices)} images.')
        found = []
        for pred, index in zip(preds, indices):
            sums = self._sums(pred, index)
            if self.sums_folder is not None:
                path = osp.join(self.sums_folder, self.name, f'{index}.npz')
                save_sums(path, sums)
                sums = path
            found.append(sums)
        return found

    def _sums(self, pred: Prediction, idx: int) -> dict[str, dict]:
        fov = self.get_fov(idx)
        sums = {}
        for task in self.tasks:
            if task.name not in self.ann_dirs:
                continue
            prob = self._prediction(pred, task, idx)
            label = self.get_gt_plane(idx, task.name)
            if prob.shape[-2:] != label.shape:
                raise ValueError(
                    f'{self.plane_path(idx, task.name)}: the mask has shape '
                    f'{label.shape}, the prediction {prob.shape[-2:]}; image '
                    'and mask must have the same size.')
            scored = self.scored_task(task)
            if scored is not task:
                prob = prob[task.channels(scored.classes)]
                label = task.part_values(scored.classes)[label]
            try:
                sums[task.name] = metrics.update(
                    prob,
                    label,
                    scored,
                    fov=fov,
                    threshold=self.threshold,
                    ignore_index=self.ignore_index,
                    points=self.points_of(scored))
            except ValueError as error:
                raise ValueError(f'{self.image_path(idx)}, task '
                                 f'{task.name!r}: {error}') from error
        return sums

    def _prediction(self, pred: Prediction, task: Task,
                    idx: int) -> np.ndarray:
        if task.name not in pred:
            raise ValueError(
                f'{self.image_path(idx)}: no prediction of task '
                f'{task.name!r}, the model gives {", ".join(pred)}; use the '
                'config that the checkpoint was trained with.')
        prob = np.asarray(pred[task.name])
        if prob.ndim != 3 or len(prob) != task.num_classes:
            raise ValueError(
                f'{self.image_path(idx)}: expected probabilities of shape '
                f'({task.num_classes}, H, W) for task {task.name!r}, got '
                f'{prob.shape}.')
        return prob

    def compute(self,
                results: Sequence[dict],
                indices: Sequence[int] | None = None,
                bootstrap: Bootstrap | None = None,
                curves: bool = False) -> dict[str, dict]:
        """Compute all metrics by task from what :meth:`pre_eval` gave, or from
        the predictions themselves, of some images or all.

        ``bootstrap`` and ``curves`` are as for ``metrics.report.compute``.
        """
        indices = range(len(self)) if indices is None else indices
        if len(results) != len(indices):
            raise ValueError(f'Dataset {self.name!r} has {len(indices)} '
                             f'images, got results of {len(results)}.')
        stored = isinstance(results[0], str)
        if not stored and any(
                isinstance(v, np.ndarray) for v in results[0].values()):
            results = self.pre_eval(results, list(indices))
            stored = isinstance(results[0], str)
        return {
            task.name:
            compute(
                StoredSums(results, task.name)
                if stored else [r[task.name] for r in results],
                self.scored_task(task),
                names=[self.stem(i) for i in indices],
                bootstrap=bootstrap,
                curves=curves)
            for task in self.tasks if task.name in self.ann_dirs
        }

    def evaluate(self,
                 results: Sequence[dict],
                 metric: str | Sequence[str] = 'mIoU',
                 logger=None) -> dict[str, float]:
        """Print a table per task and return all metrics by '<task>.<metric>'.

        ``metric`` is accepted as mmseg's tools pass it; everything is computed
        whatever it says.
        """
        allowed = ('mIoU', 'mDice', 'mFscore')
        wanted = [metric] if isinstance(metric, str) else list(metric)
        unknown = [name for name in wanted if name not in allowed]
        if unknown:
            raise ValueError(f'Unknown metric {unknown[0]!r}: expected one of '
                             f'{", ".join(allowed)}.')
        values = self.print_tables(self.compute(results), logger)
        if self.sums_folder is not None:
            # all: with uneven shares, processes score some images twice
            remove_sums(osp.join(self.sums_folder, self.name))
        if not values:
            print_log(
                f'{self.name}: no ground truth, nothing to evaluate.',
                logger=logger)
        return values

    def print_tables(self,
                     reports: dict[str, dict],
                     logger=None) -> dict[str, float]:
        """Print a table per task of what :meth:`compute` gave.

        Returns:
            dict[str, float]: Metrics by '<task>.<metric>'.
        """
        values = {}
        for task in self.tasks:
            if task.name not in reports:
                continue
            report = reports[task.name]
            rows, flat = summary(report, self.scored_task(task))
            print_log(
                f'\n{self.name}, {task.name}, {report["num_images"]} images:'
                f'\n{format_table(rows)}',
                logger=logger)
            values.update({f'{task.name}.{k}': v for k, v in flat.items()})
        return values


def format_table(rows: Sequence[Sequence[str]]) -> str:
    """Lay out rows, of which the first is the header, as a text table."""
    table = PrettyTable(list(rows[0]))
    table.add_rows(rows[1:])
    table.align = 'r'
    table.align[rows[0][0]] = 'l'
    return table.get_string()
