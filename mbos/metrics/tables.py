"""Metrics from sums: the published ones and the comparable ones.

docs/evaluation.md defines every metric. Here each is computed for several
draws of the images at once (``bootstrap``), the first of which is the test
set as it is. Weights say how often each draw has each image, (draws, images).
"""
from collections.abc import Callable, Iterable

import numpy as np

from mbos.tasks import Task

Values = dict[str, np.ndarray]
"""By metric, of every draw (or image) and of the last classes of 'background'
and the task's: (draws, C)."""

CONFUSION = ('tp', 'fp', 'fn', 'tn')
"""Order of the counts in sums."""

REGIONS = ('', '-fov')
"""Ends of names: of all pixels, and of those inside the field of view."""


def ratio(above, below) -> np.ndarray:
    """Divide; NaN where the denominator is 0."""
    with np.errstate(invalid='ignore', divide='ignore'):
        return np.where(below != 0, np.true_divide(above, below), np.nan)


def mean_of_defined(values: np.ndarray) -> np.ndarray:
    """Average over the last axis what is not NaN."""
    defined = ~np.isnan(values)
    return ratio(np.where(defined, values, 0).sum(-1), defined.sum(-1))


def _totals(weights, values):
    """Add values (images, ...) up to (draws, ...)."""
    return np.tensordot(weights, np.asarray(values, np.float64), 1)


def _means(weights, values):
    """Average the values (images, ...) that are defined to (draws, ...)."""
    defined = ~np.isnan(values)
    return ratio(
        _totals(weights, np.where(defined, values, 0)),
        _totals(weights, defined))


def overlap(counts: np.ndarray) -> Values:
    """Overlap metrics from counts (..., 4), in the order of CONFUSION."""
    tp, fp, fn, tn = np.moveaxis(np.asarray(counts), -1, 0)
    return dict(
        IoU=ratio(tp, tp + fp + fn),
        Dice=ratio(2 * tp, 2 * tp + fp + fn),
        Precision=ratio(tp, tp + fp),
        Recall=ratio(tp, tp + fn),
        Specificity=ratio(tn, tn + fp),
        Accuracy=ratio(tp + tn, tp + fp + fn + tn))


def table_of(values: Values, task: Task, cell: Callable) -> dict[str, dict]:
    """Name values by metric and by class, 'background' or 'mean', that of
    several columns; ``cell`` makes of a column what the table has.
    """
    table = {}
    for key, columns in values.items():
        names = ('background', *task.classes)[-columns.shape[-1]:]
        parts = dict(zip(names, np.moveaxis(columns, -1, 0)))
        if len(names) > 1:
            parts['mean'] = mean_of_defined(columns)
        table[key] = {name: cell(column) for name, column in parts.items()}
    return table


def published(stacked: dict, task: Task, weights: np.ndarray) -> Values:
    """The published metrics of a task, from the stacked sums of all images."""
    counts = stacked['published']
    total = _totals(weights, counts)
    area = _means(weights, stacked['ranking'][:, 0, :, 0])
    if task.num_classes == 1:
        # From the background both kinds of right and of wrong swap places.
        total = np.concatenate([total[..., ::-1], total], axis=1)
    found = overlap(total)
    if task.num_classes > 1 and not task.nested:
        wrong = ratio(counts[..., 1:3].sum(-1), counts.sum(-1))
        return dict(
            IoU=found['IoU'],
            Dice=found['Dice'],
            PPV=found['Precision'],
            Sensitivity=found['Recall'],
            MAE=_means(weights, wrong),
            AUC=area,
            AUPR=_area_of_eleven(_totals(weights, stacked['curve'])))
    values = {
        key: found[key]
        for key in ('IoU', 'Dice', 'Precision', 'Recall')
    }
    if task.num_classes == 1:
        values |= dict(Accuracy=found['Accuracy'][:, 1:], AUC=area)
        otsu = _means(weights, stacked['otsu'])
        for i, key in enumerate(('Sensitivity', 'Specificity', 'PPV')):
            values[f'{key}@Otsu'] = otsu[:, i:i + 1]
    return values


def _area_of_eleven(counts):
    """The published area under 11 points, of counts (..., 11, 4)."""
    found = overlap(counts)
    precision = np.nan_to_num(found['Precision'], nan=1.0)
    recall = np.nan_to_num(found['Recall'], nan=0.0)
    # Thresholds ascend, so recall descends.
    return -np.trapezoid(precision, recall, axis=-1)


def image_values(stacked: dict, task: Task) -> Values:
    """The metrics of every image, (images, C), from the stacked sums."""
    values: Values = {}
    for region, end in zip(range(stacked['counts'].shape[1]), REGIONS):
        by_region = task.nested and not end
        counts = stacked['regions'] if by_region else \
            stacked['counts'][:, region]
        for index, point in enumerate(stacked['points'][0]):
            at = f'@{point}' * (index > 0) + end
            found = overlap(counts[:, index])
            values |= {key + at: found[key] for key in ('Dice', 'IoU')}
            if not index:
                ranking = stacked['ranking'][:, region]
                values |= {'AP' + at: ranking[..., 1],
                           'AUC' + at: ranking[..., 0]}  # yapf: disable
            if by_region and task.num_classes > 1:
                heights = stacked['heights'][:, index]
                values['Ratio-error' + at] = _ratio_errors(heights)
    return values


def _ratio_errors(heights):
    """Compare heights (images, 2, C), relative to the outermost region."""
    predicted, truth = np.moveaxis(ratio(heights, heights[..., :1]), 1, 0)
    # Without the outermost region nothing is predicted: a ratio of 0.
    return np.abs(np.nan_to_num(predicted) - truth)[:, 1:]


def image_rows(stacked: dict, task: Task, names: Iterable) -> list[dict]:
    """The metrics and counts of every image, as docs/evaluation.md describes
    rows of ``per_image``.
    """
    points, values = stacked['points'][0], image_values(stacked, task)
    counts = dict(counts=stacked['counts'][:, 0])
    if task.nested:
        counts['regions'] = stacked['regions']

    def by_point(of_image):
        return {
            str(point): {
                name: dict(zip(CONFUSION, own))
                for name, own in zip(task.classes, of_classes.tolist())
            }
            for point, of_classes in zip(points, of_image)
        }

    return [
        dict(name=str(name))
        | table_of({k: v[i] for k, v in values.items()}, task, float)
        | {kind: by_point(own[i]) for kind, own in counts.items()}
        for i, name in enumerate(names)
    ]  # yapf: disable


def comparable(stacked: dict, task: Task, weights: np.ndarray,
               rankings: np.ndarray) -> Values:
    """The comparable metrics of a task; ``rankings`` are pooled ROC AUC and
    average precision, (draws, R, C, 2).
    """
    images = {
        key: _means(weights, values)
        for key, values in image_values(stacked, task).items()
    }
    values = {}
    for region, end in zip(range(rankings.shape[1]), REGIONS):
        area, precision = np.moveaxis(rankings[:, region], -1, 0)
        values |= {f'AP{end}': precision, f'AUC-pooled{end}': area}
        for key in ('AP', 'AUC', 'Dice'):
            values[f'{key}-image{end}'] = images[key + end]
        for index, point in enumerate(stacked['points'][0]):
            at = f'@{point}{end}'
            if index:
                values[f'Dice-image{at}'] = images[f'Dice{at}']
            counts = stacked['counts'][:, region, index]
            found = overlap(_totals(weights, counts))
            found['Sensitivity'] = found.pop('Recall')
            values |= {key + at: value for key, value in found.items()}
    errors = {k: v for k, v in images.items() if k.startswith('Ratio-error')}
    return values | errors


def summary(report: dict) -> tuple[list[list[str]], dict[str, float]]:
    """Lay out what ``compute`` returned: rows of a table, the header first,
    and a flat dict with names as ``Dice.EX`` and ``mDice``, of which published
    ones win.
    """
    rows, flat = [], {}
    tables = report['published'], report['comparable']
    used = {c for table in tables for row in table.values() for c in row}
    columns = [
        c for c in ('background', *report['classes'], 'mean') if c in used
    ]
    for table in tables:
        for key, row in table.items():
            rows.append([key, *(_cell(**row[c]) if c in row else ''
                                for c in columns)])  # yapf: disable
            for column, cell in row.items():
                name = f'm{key}' if column == 'mean' else f'{key}.{column}'
                flat.setdefault(name, cell['value'])
    return [['metric', *columns], *rows], flat


def _cell(value, low, high):
    return f'{value:.4f}' + f' [{low:.4f}, {high:.4f}]' * (low == low)
