"""Two evaluations of the same test sets beside each other.

The metrics have the names that an evaluation gives them: ``Dice-image``,
``AP-image``, ``AUC-image`` and ``Ratio-error`` are means over images, and
``Dice@0.5`` is of the pooled pixels. They are of the images that both
evaluations have.
"""
import glob
import json
import os.path as osp
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial

import numpy as np

from mbos.metrics.bootstrap import Bootstrap
from mbos.metrics.paired_bootstrap import (Difference, compare_means,
                                           compare_sums, holm)

FORMAT = 2
METRICS = ('Dice-image', 'Dice@0.5', 'AP-image', 'AUC-image', 'Ratio-error')
"""tuple[str]: What is compared unless others are named."""

LOWER_IS_BETTER = ('Ratio-error', )
FEW_IMAGES = 10
"""int: With fewer, intervals are too narrow."""


def read_evaluations(path: str) -> dict[str, dict]:
    """Read an ``eval_<set>.json``, or a folder of them, by test set.

    Raises:
        FileNotFoundError: If the path does not exist.
        ValueError: If there is none or one is not what it should be.
    """
    paths = [path]
    if osp.isdir(path):
        paths = sorted(glob.glob(osp.join(glob.escape(path), 'eval_*.json')))
        if not paths:
            raise ValueError(f'{path}: no eval_*.json in this folder; give '
                             'the --work-dir of tools/test.py --eval.')
    elif not osp.isfile(path):
        raise FileNotFoundError(f'{path}: not found; give an eval_<set>.json '
                                'or the --work-dir of tools/test.py --eval.')
    found = {}
    for name in paths:
        content = _read(name)
        if content['dataset'] in found:
            raise ValueError(f'{name}: the folder has two evaluations of '
                             f'{content["dataset"]!r}; give one file.')
        found[content['dataset']] = content
    return found


def _read(path: str) -> dict:
    try:
        with open(path, encoding='utf-8') as file:
            content = json.load(file)
    except ValueError as error:
        raise ValueError(f'{path}: not a JSON file ({error}); give an '
                         'eval_<set>.json of tools/test.py --eval.') from error
    if not isinstance(content, dict) or content.get('format') != FORMAT:
        given = content.get('format') if isinstance(content, dict) else None
        raise ValueError(
            f'{path}: expected an evaluation of format {FORMAT}, got '
            f'{given!r}; run tools/test.py --eval again.')
    return content


def compare_evaluations(first: dict[str, dict],
                        second: dict[str, dict],
                        metrics: Sequence[str] = METRICS,
                        resamples: int = 10000,
                        seed: int = 0,
                        level: float = 0.95) -> dict:
    """Compare all test sets that both have.

    Args:
        first, second: Evaluations of the models by test set.
        metrics: Names of metrics; those that a task does not have are passed
            over.
        resamples, seed, level: See ``Bootstrap``.

    Returns:
        dict: ``rows``, each with ``test_set``, ``task``, ``class``,
        ``metric``, what :class:`Difference` has, ``p_holm`` (Holm's
        correction over all rows) and ``better`` ('first', 'second' or None,
        by ``p_holm`` at that level); and ``notes``, sentences.

    Raises:
        ValueError: If there is nothing in common.
    """
    common = [name for name in first if name in second]
    if not common:
        raise ValueError(
            'Two evaluations of different test sets: '
            f'{", ".join(first)} and {", ".join(second)}; evaluate both '
            'models on the same one.')
    left_out = sorted(set(first) ^ set(second))
    notes = []
    if left_out:
        notes.append(f'Only one of the two has {", ".join(left_out)}.')
    rows = []
    for name in common:
        pair = _Pair(name, first[name], second[name])
        notes += pair.notes
        rows += pair.rows(metrics, Bootstrap(resamples, level, seed))
    if not rows:
        raise ValueError(f'No metric named {", ".join(metrics)} in both '
                         f'evaluations; usual ones are {", ".join(METRICS)}.')
    for row, p_value in zip(rows, holm([r['p_value'] for r in rows])):
        row['p_holm'] = p_value
        row['better'] = _better(row, 1 - level)
    return dict(rows=rows, notes=notes)


def _better(row: dict, limit: float) -> str | None:
    if not row['p_holm'] < limit:
        return None
    lower = row['metric'].split('-fov')[0] in LOWER_IS_BETTER
    return 'second' if (row['difference'] < 0) == lower else 'first'


class _Pair:
    """Two evaluations of one test set, image by image."""

    def __init__(self, name: str, first: dict, second: dict):
        self.name = name
        self.notes = [
            f'{name}: the {which} evaluation ended early, after '
            f'{one["images"]} of {one["images_expected"]} images.'
            for which, one in (('first', first), ('second', second))
            if not one.get('complete', True)
        ]
        self.tasks = {}
        for task, one in first['tasks'].items():
            if task in second['tasks']:
                self.tasks[task] = self._match(task, one,
                                               second['tasks'][task])
        if not self.tasks:
            raise ValueError(
                f'{name}: the evaluations have no task in common: '
                f'{", ".join(first["tasks"])} and '
                f'{", ".join(second["tasks"])}.')

    def _match(self, task: str, first: dict, second: dict):
        """Get the classes, and the rows of the images that both have."""
        for key in ('classes', 'nested', 'ignore_index'):
            if first[key] != second[key]:
                raise ValueError(
                    f'{self.name}, {task}: {key} is {first[key]!r} in one '
                    f'evaluation and {second[key]!r} in the other; evaluate '
                    'both with the same config of the test set.')
        sides = [{
            row['name']: row
            for row in one['per_image']
        } for one in (first, second)]
        names = [name for name in sides[0] if name in sides[1]]
        if not names:
            raise ValueError(
                f'{self.name}, {task}: the evaluations have no image in '
                f'common ({_some(sides[0])} and {_some(sides[1])}); evaluate '
                'both models on the same images.')
        alone = len(set(sides[0]) ^ set(sides[1]))
        if alone:
            self.notes.append(f'{self.name}, {task}: {alone} images that '
                              'only one of the two has are left out.')
        if len(names) < FEW_IMAGES:
            self.notes.append(
                f'{self.name}, {task}: {len(names)} images are few; the '
                'intervals are too narrow.')
        return first['classes'], [[side[name] for name in names]
                                  for side in sides]

    def rows(self, metrics: Sequence[str], bootstrap: Bootstrap) -> list[dict]:
        """Compare the metrics of all tasks and classes."""
        found = []
        for task, (classes, sides) in self.tasks.items():
            for metric in metrics:
                for label in [*classes, *['mean'] * (len(classes) > 1)]:
                    one = _compare(sides, metric, label, classes, bootstrap)
                    if one is not None:
                        found.append({
                            'test_set': self.name,
                            'task': task,
                            'class': label,
                            'metric': metric,
                            **asdict(one)
                        })
        return found


def _some(names) -> str:
    names = list(names)
    return ', '.join(names[:3]) + (', ...' if len(names) > 3 else '')


def _compare(sides, metric: str, label: str, classes: Sequence[str],
             bootstrap: Bootstrap) -> Difference | None:
    """Compare one metric; None where the evaluations do not have it."""
    point = metric.partition('@')[2]
    if point and metric != f'Dice@{point}':
        return None
    if point:
        labels = classes if label == 'mean' else [label]
        return _compare_pooled(sides, point, labels, bootstrap)
    key = metric.replace('-image', '')
    if not all(label in row.get(key, {}) for side in sides for row in side):
        return None
    is_overlap = key.split('-')[0].split('@')[0] in ('Dice', 'IoU')
    labels = classes if label == 'mean' and is_overlap else [label]
    # Of shape (images, labels); None, which is undefined, becomes NaN.
    first, second = (
        np.array([[row[key][name] for name in labels]
                  for row in side], np.float64) for side in sides)
    if is_overlap:
        # Where a class does not occur, finding nothing is right; otherwise
        # images in which only one model finds it would not count, and the
        # models' means would be over different classes.
        first, second = (np.where(np.isnan(one) & ~np.isnan(other), 1.0, one)
                         for one, other in ((first, second), (second, first)))
    first, second = map(_mean_of_defined, (first, second))
    return compare_means(first, second, bootstrap)


def _mean_of_defined(values: np.ndarray) -> np.ndarray:
    """Average (..., labels) over the labels; NaN where none is defined."""
    defined = ~np.isnan(values)
    with np.errstate(invalid='ignore'):
        return np.where(defined, values, 0).sum(-1) / defined.sum(-1)


def _compare_pooled(sides, point: str, labels: Sequence[str],
                    bootstrap: Bootstrap) -> Difference | None:
    """Compare the Dice of the pixels of all images, mean over the classes."""
    if not all(
            label in row.get('counts', {}).get(point, {}) for side in sides
            for row in side for label in labels):
        return None
    # both sides of the fraction, of shape (models, images, labels, 2)
    sums = np.array(
        [[[_dice_parts(row['counts'][point][label]) for label in labels]
          for row in side] for side in sides], np.float64)
    shape = len(sides), len(labels), 2

    def dice(flat, model):
        parts = flat.reshape(*flat.shape[:-1], *shape)[..., model, :, :]
        return _mean_of_defined(parts[..., 0] / parts[..., 1])

    flat = sums.swapaxes(0, 1).reshape(sums.shape[1], -1)
    return compare_sums(flat, partial(dice, model=0), partial(dice, model=1),
                        bootstrap)


def _dice_parts(count: dict) -> tuple[int, int]:
    twice = 2 * count['tp']
    return twice, twice + count['fp'] + count['fn']


def difference_table(rows: Sequence[dict]) -> list[list[str]]:
    """Lay rows of :func:`compare_evaluations` out, the header first."""
    table = [[
        'test set', 'task', 'class', 'metric', 'images', 'A', 'B', 'B - A',
        'interval', 'p', 'p (Holm)', 'better'
    ]]
    for row in rows:
        interval = '–'
        if row['low'] == row['low']:
            interval = f'{row["low"]:+.4f} to {row["high"]:+.4f}'
        table.append([
            row['test_set'], row['task'], row['class'], row['metric'],
            str(row['images']),
            _shown(row['first']),
            _shown(row['second']),
            _shown(row['difference'], '+.4f'), interval,
            _shown(row['p_value']),
            _shown(row['p_holm']),
            dict(first='A', second='B').get(row['better'], '')
        ])
    return table


def _shown(value: float, style: str = '.4f') -> str:
    return format(value, style) if value == value else '–'
