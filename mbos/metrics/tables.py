"""Metrics from sums: the published ones and the comparable ones.

docs/evaluation.md defines every metric. Here each is computed for several
draws of the images at once (``bootstrap``), the first of which is the test
set as it is.
"""
from collections.abc import Mapping, Sequence

import numpy as np
from scipy.integrate import trapezoid

from mbos.tasks import Task

Table = dict[str, dict[str, np.ndarray]]
"""Values of every draw, by metric and by class, 'background' or 'mean'."""

CONFUSION = ('tp', 'fp', 'fn', 'tn')
"""tuple[str]: Order of the counts in sums."""

FOV = '-fov'
"""str: Ends the names of metrics inside the field of view."""


def _ratio(above, below):
    """Divide; NaN where the denominator is 0."""
    above, below = np.broadcast_arrays(
        np.asarray(above, dtype=np.float64),
        np.asarray(below, dtype=np.float64))
    return np.divide(
        above, below, out=np.full(above.shape, np.nan), where=below != 0)


class Draws:
    """Sums and means over the images of every draw.

    ``weights`` says how often each image is drawn, (draws, images).
    """

    def __init__(self, weights: np.ndarray):
        self.weights = weights

    def total(self, values: np.ndarray) -> np.ndarray:
        """Add values (images, ...) up to (draws, ...)."""
        return np.tensordot(self.weights, np.asarray(values, np.float64), 1)

    def mean(self, values: np.ndarray) -> np.ndarray:
        """Average the values (images, ...) that are defined."""
        values = np.asarray(values, dtype=np.float64)
        defined = ~np.isnan(values)
        return _ratio(
            self.total(np.where(defined, values, 0)), self.total(defined))


def overlap(counts: np.ndarray) -> dict[str, np.ndarray]:
    """Overlap metrics from counts (..., 4), in the order of CONFUSION."""
    tp, fp, fn, tn = np.moveaxis(np.asarray(counts), -1, 0)
    return dict(
        IoU=_ratio(tp, tp + fp + fn),
        Dice=_ratio(2 * tp, 2 * tp + fp + fn),
        Precision=_ratio(tp, tp + fp),
        Recall=_ratio(tp, tp + fn),
        Specificity=_ratio(tn, tn + fp),
        Accuracy=_ratio(tp + tn, tp + fp + fn + tn))


def _named(values, classes, undefined=np.nan) -> dict[str, np.ndarray]:
    """Name the values (..., C) by class and add their mean."""
    values = np.asarray(values, dtype=np.float64)
    row = {name: values[..., i] for i, name in enumerate(classes)}
    if len(classes) > 1:
        filled = np.where(np.isnan(values), undefined, values)
        defined = ~np.isnan(filled)
        row['mean'] = _ratio(
            np.where(defined, filled, 0).sum(-1), defined.sum(-1))
    return row


def published_table(stacked: dict, task: Task, draws: Draws) -> Table:
    """The published metrics of a task, from the stacked sums of all images."""
    if task.num_classes == 1:
        return _single_class_table(stacked, task, draws)
    found = overlap(draws.total(stacked['published']))
    if task.nested:
        keys = ('IoU', 'Dice', 'Precision', 'Recall')
        return {key: _named(found[key], task.classes) for key in keys}
    counts = stacked['published']
    wrong = _ratio(counts[..., 1:3].sum(-1), counts.sum(-1))
    values = dict(
        IoU=found['IoU'],
        Dice=found['Dice'],
        PPV=found['Precision'],
        Sensitivity=found['Recall'],
        MAE=draws.mean(wrong),
        AUC=draws.mean(stacked['ranking'][..., 0]),
        AUPR=_trapezoid(draws.total(stacked['curve'])))
    return {key: _named(v, task.classes, 0) for key, v in values.items()}


def _single_class_table(stacked, task, draws):
    """The published metrics of a task with one class."""
    counts = draws.total(stacked['published'])
    # Seen from the background, both kinds of right and of wrong swap places.
    found = overlap(np.concatenate([counts[..., ::-1], counts], axis=1))
    sides = ('background', ) + task.classes
    keys = ('IoU', 'Dice', 'Precision', 'Recall')
    table = {key: _named(found[key], sides) for key in keys}
    table['Accuracy'] = _named(found['Accuracy'][:, 1:], task.classes)
    area = draws.mean(stacked['ranking'][..., 0])
    table['AUC'] = _named(area, task.classes)
    otsu = draws.mean(stacked['otsu'])
    for i, key in enumerate(('Sensitivity', 'Specificity', 'PPV')):
        table[key + '@Otsu'] = _named(otsu[:, i:i + 1], task.classes)
    return table


def _trapezoid(counts):
    """The published area under 11 points, of counts (..., 11, 4)."""
    found = overlap(counts)
    precision = np.nan_to_num(found['Precision'], nan=1.0)
    recall = np.nan_to_num(found['Recall'], nan=0.0)
    # Thresholds ascend, so recall descends.
    return -trapezoid(precision, recall, axis=-1)


def image_row(sums: dict, task: Task, name: str) -> dict:
    """The metrics of one image.

    Returns:
        dict: ``name``, {metric: {class: float}}, and ``counts`` (for nested
        classes ``regions``, too): {operating point: {class: {'tp': ...}}}.
    """
    row = dict(name=name)
    row.update(_image_figures(sums, task))
    if 'fov' in sums:
        for key, values in _image_figures(sums['fov'], task).items():
            row[key + FOV] = values
    for kind in ('counts', 'regions'):
        if kind in sums:
            row[kind] = {
                point: _named_counts(one[kind], task)
                for point, one in operating_points(sums)
            }
    return row


def operating_points(sums: dict) -> list[tuple[str, dict]]:
    """List the operating points of sums: the fixed one, then the others."""
    points = list(sums.get('points', {}).items())
    return [(point_name(sums), sums)] + points


def point_name(sums: dict) -> str:
    """Name the fixed operating point by its threshold."""
    return f'{float(sums["threshold"]):.4g}'


def _named_counts(counts, task):
    return {
        name: dict(zip(CONFUSION, map(int, row)))
        for name, row in zip(task.classes, counts)
    }


def _image_figures(sums, task):
    values = {}
    for point, one in operating_points(sums):
        suffix = '' if one is sums else f'@{point}'
        found = overlap(one.get('regions', one['counts']))
        values['Dice' + suffix] = _named(found['Dice'], task.classes)
        values['IoU' + suffix] = _named(found['IoU'], task.classes)
        if 'heights' in one and task.num_classes > 1:
            values['Ratio-error' + suffix] = _ratio_errors(
                one['heights'], task)
    values['AUC'] = _named(sums['ranking'][:, 0], task.classes)
    values['AP'] = _named(sums['ranking'][:, 1], task.classes)
    return {
        key: {
            name: float(value)
            for name, value in row.items()
        }
        for key, row in values.items()
    }


def _ratio_errors(heights, task):
    """Compare heights relative to the outermost region, (2, C) pixels."""
    predicted, truth = _ratio(heights, heights[:, :1])
    # Without the outermost region nothing is predicted: a ratio of 0.
    error = np.abs(np.nan_to_num(predicted) - truth)
    return _named(error[1:], task.classes[1:])


def comparable_table(stacked: dict, task: Task, rows: Sequence[dict],
                     draws: Draws, rankings: Mapping[str,
                                                     np.ndarray]) -> Table:
    """The comparable metrics of a task.

    Args:
        stacked: Sums of all images, stacked; with ``fov`` only if every
            image has it.
        task: Their task.
        rows: Of :func:`image_row`.
        draws: Which images count how often.
        rankings: By '' and '-fov', pooled ROC AUC and average precision of
            shape (draws, C, 2).
    """
    table = _region_table(stacked, task, rows, draws, rankings[''], '')
    if 'fov' in stacked:
        table.update(
            _region_table(stacked['fov'], task, rows, draws, rankings[FOV],
                          FOV))
    for key in rows[0]:
        if key.startswith('Ratio-error'):
            inner = task.classes[1:]
            errors = [[row[key][name] for name in inner] for row in rows]
            table[key] = _named(draws.mean(errors), inner)
    return table


def _region_table(stacked, task, rows, draws, ranking, suffix):
    """The comparable metrics on the square or in the field of view."""
    values = {'AP': ranking[..., 1], 'AUC-pooled': ranking[..., 0]}

    def image_mean(key):
        return draws.mean([[row[key + suffix][name] for name in task.classes]
                           for row in rows])

    for key in ('AP', 'AUC', 'Dice'):
        values[key + '-image'] = image_mean(key)
    for point in stacked.get('points', {}):
        values[f'Dice-image@{point}'] = image_mean(f'Dice@{point}')
    fixed = f'{float(stacked["threshold"].flat[0]):.4g}'
    counts = {fixed: stacked['counts']}
    for point, one in stacked.get('points', {}).items():
        counts[point] = one['counts']
    for point, own in counts.items():
        found = overlap(draws.total(own))
        found['Sensitivity'] = found.pop('Recall')
        for key, value in found.items():
            values[f'{key}@{point}'] = value
    return {
        key + suffix: _named(value, task.classes)
        for key, value in values.items()
    }


def summary(
        metrics: dict,
        task: Task,
        intervals: dict | None = None
) -> tuple[list[list[str]], dict[str, float]]:
    """Lay metrics out for people and for loggers.

    Args:
        metrics: What ``compute`` returned.
        task: The task of these metrics.
        intervals: Ends of intervals to show, in the layout of the metrics.

    Returns:
        tuple[list[list[str]], dict[str, float]]: Rows of a table (first
        ``['metric', 'background', classes..., 'mean']``, without columns that
        stay empty), and a flat dict with names as ``Dice.EX`` and ``mDice``.
        Published names win where both kinds have one.
    """
    columns = ['background', *task.classes, 'mean']
    lines = [(kind, key, row) for kind in ('published', 'comparable')
             for key, row in metrics[kind].items()]
    columns = [c for c in columns if any(c in row for _, _, row in lines)]
    rows = [['metric'] + columns]
    flat = {}
    for kind, key, row in lines:
        ends = intervals[kind][key] if intervals else {}
        rows.append([key] + [_cell(row, ends, c) for c in columns])
        for column, value in row.items():
            name = 'm' + key if column == 'mean' else f'{key}.{column}'
            flat.setdefault(name, value)
    return rows, flat


def _cell(row, ends, column):
    if column not in row:
        return ''
    text = format(row[column], '.4f')
    if column in ends and ends[column][0] == ends[column][0]:
        text += ' [{:.4f}, {:.4f}]'.format(*ends[column])
    return text
