"""Scoring of predictions, per task and image by image."""
import logging
import math
import os.path as osp
from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
from mmcv import Config
from mmcv.utils import print_log
from mmseg.datasets import DATASETS, ConcatDataset, build_dataset
from prettytable import PrettyTable

from mbos.config import build_checked
from mbos.io.labels import translate
from mbos.metrics import sums as metrics
from mbos.metrics.bootstrap import Bootstrap
from mbos.metrics.sums import StoredSums, remove_sums, save_sums
from mbos.metrics.tables import compute, summary
from mbos.tasks import Task
from .checks import DataError, build_members

LOGGED = ('Dice', 'IoU', 'mDice', 'mIoU')
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
        """Reduce predictions, of one image or several, to the sums that the
        metrics need: for each image those by task with ground truth, or with
        ``sums_folder`` their file.

        ``preds`` are probabilities of shape (C, H, W) by task, at the size of
        the prepared image.
        """
        preds = [preds] if isinstance(preds, dict) else preds
        found = []
        for pred, index in zip(preds, np.atleast_1d(indices), strict=True):
            tasks = [t for t in self.tasks if t.name in self.truth]
            sums = {t.name: self._sums(pred, t, index) for t in tasks}
            if self.sums_folder is not None:
                path = osp.join(self.sums_folder, self.name, f'{index}.npz')
                save_sums(path, sums)
                sums = path
            found.append(sums)
        return found

    def _sums(self, pred: Prediction, task: Task, idx: int) -> metrics.Sums:
        label = self.get_gt_plane(idx, task.name)
        scored, given = self.scored_task(task), self.operating_points
        points = {
            name: [limits[c] for c in scored.classes]
            for name, limits in given.get(task.name, {}).items()
        }
        try:
            prob = np.asarray(pred[task.name])
            if scored is not task:
                prob = prob[task.channels(scored.classes)]
                label = translate(label, task.part_values(scored.classes))
            return metrics.update(prob, label, scored, self.get_fov(idx),
                                  self.threshold, self.ignore_index, points)
        except (KeyError, IndexError, ValueError) as error:
            raise ValueError(
                f'{self.image_path(idx)}, task {task.name!r}: the prediction '
                f'(of {", ".join(pred)}) cannot be scored: {error}') from error

    def compute(self, results, bootstrap: Bootstrap | None = None) -> dict:
        """Compute all metrics by task from what :meth:`pre_eval` gave of all
        images; ``bootstrap`` is as for ``metrics.tables.compute``.
        """
        reports = {}
        for task in self.tasks:
            if task.name in self.truth:
                sums = StoredSums(results, task.name) if isinstance(
                    results[0], str) else [r[task.name] for r in results]
                reports[task.name] = compute(sums, self.scored_task(task),
                                             self.stems, bootstrap)
        return reports

    def evaluate(self,
                 results: Sequence,
                 metric: str | Sequence[str] = 'mIoU',
                 logger=None) -> dict[str, float]:
        """Print a table per task and return all metrics by '<task>.<metric>',
        whatever ``metric`` says, which mmseg's tools pass.
        """
        values = self.print_tables(self.compute(results), logger)
        if self.sums_folder is not None:
            # all: with uneven shares, processes score some images twice
            remove_sums(osp.join(self.sums_folder, self.name))
        return values

    def print_tables(self, reports: dict, logger=None) -> dict[str, float]:
        """Print tables of what :meth:`compute` gave; returns metrics by
        '<task>.<metric>'.
        """
        values, empty = {}, []
        for name, report in reports.items():
            rows, flat = summary(report)
            head = f'\n{self.name}, {name}, {report["images"]} images:\n'
            print_log(head + format_table(rows), logger)
            values |= {f'{name}.{key}': value for key, value in flat.items()}
            if all(math.isnan(flat[f'Dice.{c}']) for c in report['classes']):
                empty.append(name)
        if empty or not reports:
            print_log(
                f'{self.name}: nothing to score of {", ".join(empty) or "any"}'
                ' task, as no image has ground truth of it that is not '
                'ignored: its Dice is undefined (nan).', logger,
                logging.WARNING)
        return values


@DATASETS.register_module()
class EvaluationSets(ConcatDataset):
    """Evaluate test sets one by one and put their names before the metrics,
    'drive.vessel.mDice', where mmseg's ConcatDataset numbers them.
    """

    def __init__(self, datasets: Sequence, test_mode: bool = True):
        super().__init__(build_members(datasets, test_mode=test_mode))
        names = [getattr(dataset, 'name', None) for dataset in self.datasets]
        if None in names or len(set(names)) < len(names):
            raise ValueError(
                'EvaluationSets needs PartialLabelDatasets, or subclasses of '
                f'it, of different names, got {names}.')

    def evaluate(self,
                 results: Sequence,
                 metric: str | Sequence[str] = 'mIoU',
                 logger=None) -> dict[str, float]:
        """Evaluate every test set. Returns means over tasks, 'mDice' first,
        which ``save_best='auto'`` takes, then Dice and IoU by
        '<dataset>.<task>.<metric>': a log has no place for more.
        """
        by_set, start = {}, 0
        for end, dataset in zip(self.cumulative_sizes, self.datasets):
            own = results[start:end]
            by_set[dataset.name] = dataset.evaluate(own, metric, logger)
            start = end
        return mean_over_tasks(by_set) | {
            f'{name}.{key}': value
            for name, values in by_set.items()
            for key, value in values.items() if key.split('.')[1] in LOGGED
        }


def mean_over_tasks(values: Mapping[str, Mapping]) -> dict[str, float]:
    """Average Dice and IoU over classes, datasets of a task, and tasks.

    ``values`` are by dataset and '<task>.<metric>.<class>'. Background, which
    is nearly always right, and undefined ones are left out; the mean of none
    is NaN.
    """
    means = {}
    for metric in ('Dice', 'IoU'):
        sets = defaultdict(list)
        for found in values.values():
            classes = defaultdict(list)
            for key, value in found.items():
                task, name, *label = key.split('.', 2)
                if name == metric and label != ['background'] \
                        and not math.isnan(value):
                    classes[task].append(value)
            for task, numbers in classes.items():
                sets[task].append(np.mean(numbers))
        tasks = [np.mean(numbers) for numbers in sets.values()]
        means[f'm{metric}'] = float(np.mean(tasks)) if tasks else math.nan
    return means


def build_val_set(cfg: Config):
    """The validation set of a config; a DataError says what is missing."""
    try:
        return build_checked(build_dataset, cfg.data.val, dict(test_mode=True))
    except DataError as error:
        raise DataError(error.problems + [
            'data.val: these are for evaluation during training; prepare '
            'them, name other sets in data.val, or pass --no-validate.'
        ]) from error


def format_table(rows: Sequence[Sequence[str]]) -> str:
    """Lay out rows, of which the first is the header, as a text table."""
    table = PrettyTable(list(rows[0]))
    table.add_rows(rows[1:])
    table.align = 'r'
    table.align[rows[0][0]] = 'l'
    return table.get_string()
