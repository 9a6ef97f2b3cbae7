"""Figures from sums: the published ones and the comparable ones.

Published (METHOD, section 9), counts pooled over images at 0.5:

- one class: IoU, Dice, Precision, Recall of background and class, Accuracy;
  AUC, and Sensitivity@Otsu, Specificity@Otsu, PPV@Otsu, means over the images
  where they are defined;
- exclusive classes: IoU, Dice, PPV, Sensitivity, MAE, AUC, AUPR; in the mean
  over classes an undefined value counts as 0;
- nested classes: IoU, Dice, Precision, Recall.

Comparable, for all tasks: ``AP`` and ``AUC-pooled`` over all pixels of all
images; ``AP-image`` and ``AUC-image``, means over the images in which they
are defined (the class occurs); IoU, Dice, Sensitivity, Specificity,
Precision and Accuracy from pooled counts at the threshold of the sums, under
``<metric>@<threshold>``; ``Dice-image``, mean over the images in which the
class occurs or is predicted (0 where only predicted). Inside the field of
view the same names end in ``-fov``. Nested classes: ``Dice-image`` follows
the label map, and ``Ratio-error`` is the mean absolute error of the height of
a class over that of the outermost, over images in which the latter occurs.
"""
from typing import Dict, List, Optional, Sequence, Tuple

import numpy as np

from .score_histogram import (Histogram, histogram_area, histogram_precision,
                              pool_histograms, unpack_histogram)
from .tasks import Task

Table = Dict[str, Dict[str, float]]

_POOL = 16
"""int: Histograms added at a time, which bounds the memory that takes."""


def _ratio(above, below):
    """Divide; NaN where the denominator is 0."""
    above, below = np.broadcast_arrays(
        np.asarray(above, dtype=np.float64),
        np.asarray(below, dtype=np.float64))
    return np.divide(
        above, below, out=np.full(above.shape, np.nan), where=below != 0)


def _mean(values, axis=0):
    """Average what is defined; NaN where nothing is."""
    values = np.asarray(values, dtype=np.float64)
    defined = ~np.isnan(values)
    return _ratio(np.where(defined, values, 0).sum(axis), defined.sum(axis))


def _overlap(counts):
    """Compute figures from counts (..., 4), in the order of ``update``."""
    tp, fp, fn, tn = np.moveaxis(np.asarray(counts), -1, 0)
    return dict(
        IoU=_ratio(tp, tp + fp + fn),
        Dice=_ratio(2 * tp, 2 * tp + fp + fn),
        Precision=_ratio(tp, tp + fp),
        Recall=_ratio(tp, tp + fn),
        Specificity=_ratio(tn, tn + fp),
        Accuracy=_ratio(tp + tn, tp + fp + fn + tn))


def _named(values, classes, undefined=np.nan) -> Dict[str, float]:
    """Name the values by class and add their mean."""
    values = np.asarray(values, dtype=np.float64)
    row = {name: float(value) for name, value in zip(classes, values)}
    if len(classes) > 1:
        filled = np.where(np.isnan(values), undefined, values)
        row['mean'] = float(_mean(filled))
    return row


def _stack(sums, key):
    return np.stack([one[key] for one in sums])


def published_table(sums: Sequence[dict], task: Task) -> Table:
    """Compute the published figures of a task from sums of images."""
    if task.num_classes == 1:
        return _single_class_table(sums, task)
    figures = _overlap(_stack(sums, 'published').sum(axis=0))
    if task.nested:
        keys = ('IoU', 'Dice', 'Precision', 'Recall')
        return {key: _named(figures[key], task.classes) for key in keys}
    counts = _stack(sums, 'published')
    wrong = _ratio(counts[..., 1:3].sum(-1), counts.sum(-1))
    values = dict(
        IoU=figures['IoU'],
        Dice=figures['Dice'],
        PPV=figures['Precision'],
        Sensitivity=figures['Recall'],
        MAE=_mean(wrong),
        AUC=_mean(_stack(sums, 'ranking')[..., 0]),
        AUPR=_trapezoid(_stack(sums, 'curve').sum(axis=0)))
    return {key: _named(v, task.classes, 0) for key, v in values.items()}


def _single_class_table(sums, task):
    """Compute the published figures of a task with one class."""
    counts = _stack(sums, 'published').sum(axis=0)[0]
    # Seen from the background, both kinds of right and of wrong swap places.
    figures = _overlap(np.stack([counts[::-1], counts]))
    sides = ('background', ) + task.classes
    keys = ('IoU', 'Dice', 'Precision', 'Recall')
    table = {key: _named(figures[key], sides) for key in keys}
    table['Accuracy'] = _named(figures['Accuracy'][1:], task.classes)
    area = _mean(_stack(sums, 'ranking')[..., 0])
    table['AUC'] = _named(area, task.classes)
    otsu = _mean(_stack(sums, 'otsu'))
    for key, value in zip(('Sensitivity', 'Specificity', 'PPV'), otsu):
        table[key + '@Otsu'] = _named([value], task.classes)
    return table


def _trapezoid(counts):
    """Compute the published area under 11 points, counts (C, 11, 4)."""
    figures = _overlap(counts)
    precision = np.nan_to_num(figures['Precision'], nan=1.0)
    recall = np.nan_to_num(figures['Recall'], nan=0.0)
    # Thresholds ascend, so recall descends.
    steps = recall[:, :-1] - recall[:, 1:]
    return (steps * (precision[:, :-1] + precision[:, 1:]) / 2).sum(axis=1)


def per_image_rows(sums: Sequence[dict],
                   task: Task,
                   names: Optional[Sequence[str]] = None) -> List[dict]:
    """Compute the figures of every image."""
    rows = []
    for index, one in enumerate(sums):
        row = dict(name=str(index) if names is None else names[index])
        figures = _overlap(one.get('regions', one['counts']))
        values = dict(Dice=figures['Dice'], IoU=figures['IoU'])
        values['AUC'], values['AP'] = one['ranking'].T
        if 'heights' in one:
            predicted, truth = _ratio(one['heights'], one['heights'][:, :1])
            # Without the outermost region nothing is predicted: a ratio of 0.
            error = np.abs(np.nan_to_num(predicted) - truth)
            row['Ratio-error'] = _named(error[1:], task.classes[1:])
        if 'fov' in one:
            figures = _overlap(one['fov']['counts'])
            values['Dice-fov'] = figures['Dice']
            values['IoU-fov'] = figures['IoU']
            values['AUC-fov'], values['AP-fov'] = one['fov']['ranking'].T
        for key, value in values.items():
            row[key] = _named(value, task.classes)
        rows.append(row)
    return rows


def comparable_table(sums: Sequence[dict], task: Task,
                     rows: Sequence[dict]) -> Table:
    """Compute the comparable figures of a task from sums of images.

    The field of view counts only if every image has one.
    """
    table = _region_table(sums, task, rows, '')
    if all('fov' in one for one in sums):
        threshold = sums[0]['threshold']
        inside = [dict(one['fov'], threshold=threshold) for one in sums]
        table.update(_region_table(inside, task, rows, '-fov'))
    if task.nested and task.num_classes > 1:
        inner = task.classes[1:]
        errors = [[row['Ratio-error'][name] for name in inner] for row in rows]
        table['Ratio-error'] = _named(_mean(errors), inner)
    return table


def _region_table(sums, task, rows, suffix):
    """Compute the comparable figures on the square or in the field of view."""
    pooled = [pooled_histogram(sums, i) for i in range(task.num_classes)]
    values = {
        'AP': [histogram_precision(h) for h in pooled],
        'AUC-pooled': [histogram_area(h) for h in pooled],
    }
    for key in ('AP', 'AUC', 'Dice'):
        values[key + '-image'] = _mean(
            [[row[key + suffix][name] for name in task.classes]
             for row in rows])
    figures = _overlap(_stack(sums, 'counts').sum(axis=0))
    figures['Sensitivity'] = figures.pop('Recall')
    for key, value in figures.items():
        values[f'{key}@{float(sums[0]["threshold"]):.4g}'] = value
    return {
        key + suffix: _named(value, task.classes)
        for key, value in values.items()
    }


def pooled_histogram(sums: Sequence[dict], channel: int) -> Histogram:
    """Add up the score histograms of one class over images.

    Args:
        sums (Sequence[dict]): Sums of images, or their ``'fov'`` parts.
        channel (int): Index of the class.
    """
    total = None
    for start in range(0, len(sums), _POOL):
        part = [
            unpack_histogram(one['scores'][channel])
            for one in sums[start:start + _POOL]
        ]
        total = pool_histograms(part if total is None else [total] + part)
    return total


def summary(metrics: dict,
            task: Task) -> Tuple[List[List[str]], Dict[str, float]]:
    """Lay figures out for people and for loggers.

    Args:
        metrics (dict): What ``compute`` returned.
        task (Task): The task of these metrics.

    Returns:
        tuple[list[list[str]], dict[str, float]]: Rows of a table (first
        ``['metric', 'background', classes..., 'mean']``, without columns that
        stay empty), and a flat dict with names as ``Dice.EX`` and ``mDice``.
        Published names win where both kinds have one.
    """
    columns = ['background', *task.classes, 'mean']
    lines = [(key, row) for kind in ('published', 'comparable')
             for key, row in metrics[kind].items()]
    columns = [c for c in columns if any(c in row for _, row in lines)]
    rows = [['metric'] + columns]
    flat = {}
    for key, row in lines:
        rows.append([key] + [
            format(row[column], '.4f') if column in row else ''
            for column in columns
        ])
        for column, value in row.items():
            name = 'm' + key if column == 'mean' else f'{key}.{column}'
            flat.setdefault(name, value)
    return rows, flat
