"""Scoring of predictions, per task and image by image."""
import os.path as osp
from collections.abc import Sequence

import numpy as np
from mmcv.utils import print_log
from prettytable import PrettyTable

from mbos.io.labels import translate
from mbos.metrics import sums as metrics
from mbos.metrics.bootstrap import Bootstrap
from mbos.metrics.report import compute
from mbos.metrics.sums_store import StoredSums, remove_sums, save_sums
from mbos.metrics.tables import summary
from mbos.tasks import Task

Prediction = dict[str, np.ndarray]


class ScoringMixin:
    """What a dataset does with predictions; see PartialLabelDataset."""

    sums_folder: str | None = None
    """Where sums of images wait until all are done; None: in memory."""
    operating_points: dict[str, dict] = {}
    """Further thresholds to score at: {task: {name: {class: threshold}}}."""

    def scored_task(self, task: Task) -> Task:
        """Get the task of the classes that this dataset labels."""
        folder = self.truth.get(task.name)
        return task if folder is None else task.part(folder.classes)

    def pre_eval(self, preds: Prediction | list[Prediction],
                 indices: int | Sequence[int]) -> list:
        """Reduce predictions to the sums that the metrics need.

        ``preds``, of one image or several, are probabilities of shape (C, H,
        W) by task, at the size of the prepared image.

        Returns:
            list[dict | str]: For each image the sums by task, of the tasks
            that have ground truth here; with ``sums_folder``, where they are.
        """
        preds = [preds] if isinstance(preds, dict) else preds
        found = []
        for pred, index in zip(preds, np.atleast_1d(indices), strict=True):
            fov = self.get_fov(index)
            sums = {
                task.name: self._sums(pred, task, index, fov)
                for task in self.tasks if task.name in self.truth
            }
            if self.sums_folder is not None:
                path = osp.join(self.sums_folder, self.name, f'{index}.npz')
                save_sums(path, sums)
                sums = path
            found.append(sums)
        return found

    def _sums(self, pred: Prediction, task: Task, idx: int,
              fov: np.ndarray | None) -> metrics.Sums:
        """The sums of one image and task, of the classes that are labelled."""
        label = self.get_gt_plane(idx, task.name)
        scored = self.scored_task(task)
        points = {
            name: [limits[c] for c in scored.classes]
            for name, limits in self.operating_points.get(task.name,
                                                          {}).items()
        }
        try:
            prob = np.asarray(pred[task.name])
            if scored is not task:
                prob = prob[task.channels(scored.classes)]
                label = translate(label, task.part_values(scored.classes))
            return metrics.update(prob, label, scored, fov, self.threshold,
                                  self.ignore_index, points)
        except (KeyError, IndexError, ValueError) as error:
            raise ValueError(
                f'{self.image_path(idx)}, task {task.name!r}: the prediction '
                f'(of {", ".join(pred)}) cannot be scored: {error}') from error

    def compute(self,
                results: Sequence,
                indices: Sequence[int] | None = None,
                bootstrap: Bootstrap | None = None) -> dict[str, dict]:
        """Compute all metrics by task from what :meth:`pre_eval` gave of some
        images or all.

        ``bootstrap`` is as for ``metrics.report.compute``.
        """
        indices = range(len(self)) if indices is None else indices
        names = [self.stem(i) for i in indices]
        reports = {}
        for task in self.tasks:
            if task.name in self.truth:
                sums = StoredSums(results, task.name) if isinstance(
                    results[0], str) else [r[task.name] for r in results]
                reports[task.name] = compute(sums, self.scored_task(task),
                                             names, bootstrap)
        return reports

    def evaluate(self,
                 results: Sequence,
                 metric: str | Sequence[str] = 'mIoU',
                 logger=None) -> dict[str, float]:
        """Print a table per task and return all metrics by '<task>.<metric>'.

        ``metric`` is accepted as mmseg's tools pass it; everything is computed
        whatever it says.
        """
        values = self.print_tables(self.compute(results), logger)
        if self.sums_folder is not None:
            # all: with uneven shares, processes score some images twice
            remove_sums(osp.join(self.sums_folder, self.name))
        return values

    def print_tables(self,
                     reports: dict[str, dict],
                     logger=None) -> dict[str, float]:
        """Print a table per task of what :meth:`compute` gave; returns metrics
        by '<task>.<metric>'.
        """
        values = {}
        for name, report in reports.items():
            rows, flat = summary(report)
            print_log(
                f'\n{self.name}, {name}, {report["images"]} images:\n'
                f'{format_table(rows)}', logger)
            values |= {f'{name}.{key}': value for key, value in flat.items()}
        return values


def format_table(rows: Sequence[Sequence[str]]) -> str:
    """Lay out rows, of which the first is the header, as a text table."""
    table = PrettyTable(list(rows[0]))
    table.add_rows(rows[1:])
    table.align = 'r'
    table.align[rows[0][0]] = 'l'
    return table.get_string()
