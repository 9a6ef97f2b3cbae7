"""Metrics from sums: the published ones and the comparable ones.

docs/evaluation.md defines every metric. Here each is computed for several
draws of the images at once (``bootstrap``), the first of which is the test
set as it is. Weights say how often each draw has each image, (draws, images).
"""
from collections.abc import Sequence

import numpy as np

from mbos.tasks import Task

Table = dict[str, dict[str, np.ndarray]]
"""Values of every draw, or image, by metric and by class, 'background' or
'mean'."""

CONFUSION = ('tp', 'fp', 'fn', 'tn')
"""tuple[str]: Order of the counts in sums."""

REGIONS = ('', '-fov')
"""tuple[str]: Ends of names of metrics of all pixels, and of those inside the
field of view."""


def _ratio(above, below):
    """Divide; NaN where the denominator is 0."""
    with np.errstate(invalid='ignore', divide='ignore'):
        return np.where(below != 0, np.true_divide(above, below), np.nan)


def mean_of_defined(values: np.ndarray) -> np.ndarray:
    """Average over the last axis what is not NaN."""
    defined = ~np.isnan(values)
    return _ratio(np.where(defined, values, 0).sum(-1), defined.sum(-1))


def _totals(weights, values):
    """Add values (images, ...) up to (draws, ...)."""
    return np.tensordot(weights, np.asarray(values, np.float64), 1)


def _means(weights, values):
    """Average the values (images, ...) that are defined to (draws, ...)."""
    defined = ~np.isnan(values)
    return _ratio(
        _totals(weights, np.where(defined, values, 0)),
        _totals(weights, defined))


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


def _named(values: np.ndarray,
           classes: Sequence[str]) -> dict[str, np.ndarray]:
    """Name the values (..., C) by class and add their mean."""
    row = {name: values[..., i] for i, name in enumerate(classes)}
    if len(classes) > 1:
        row['mean'] = mean_of_defined(values)
    return row


def published_table(stacked: dict, task: Task, weights: np.ndarray) -> Table:
    """The published metrics of a task, from the stacked sums of all images."""
    counts = stacked['published']
    area = _means(weights, stacked['ranking'][:, 0, :, 0])
    total, sides = _totals(weights, counts), task.classes
    if task.num_classes == 1:
        # From the background both kinds of right and of wrong swap places.
        total = np.concatenate([total[..., ::-1], total], axis=1)
        sides = ('background', *sides)
    found = overlap(total)
    if task.num_classes > 1 and not task.nested:
        wrong = _ratio(counts[..., 1:3].sum(-1), counts.sum(-1))
        values = dict(
            IoU=found['IoU'],
            Dice=found['Dice'],
            PPV=found['Precision'],
            Sensitivity=found['Recall'],
            MAE=_means(weights, wrong),
            AUC=area,
            AUPR=_area_of_eleven(_totals(weights, stacked['curve'])))
        return {key: _named(v, task.classes) for key, v in values.items()}
    table = {
        key: _named(found[key], sides)
        for key in ('IoU', 'Dice', 'Precision', 'Recall')
    }
    if task.num_classes == 1:
        table['Accuracy'] = _named(found['Accuracy'][:, 1:], task.classes)
        table['AUC'] = _named(area, task.classes)
        otsu = _means(weights, stacked['otsu'])
        for i, key in enumerate(('Sensitivity', 'Specificity', 'PPV')):
            table[f'{key}@Otsu'] = _named(otsu[:, i:i + 1], task.classes)
    return table


def _area_of_eleven(counts):
    """The published area under 11 points, of counts (..., 11, 4)."""
    found = overlap(counts)
    precision = np.nan_to_num(found['Precision'], nan=1.0)
    recall = np.nan_to_num(found['Recall'], nan=0.0)
    # Thresholds ascend, so recall descends.
    return -np.trapezoid(precision, recall, axis=-1)


def image_table(stacked: dict, task: Task) -> Table:
    """The metrics of every image. ``stacked`` are sums, of all images."""
    table: Table = {}
    for region, end in zip(range(stacked['counts'].shape[1]), REGIONS):
        counts = stacked['counts'][:, region]
        if task.nested and not end:
            counts = stacked['regions']
        for index, point in enumerate(stacked['points'][0]):
            at = f'@{point}' * (index > 0) + end
            found = overlap(counts[:, index])
            values = {key + at: found[key] for key in ('Dice', 'IoU')}
            if not index:
                area, precision = np.moveaxis(stacked['ranking'][:, region],
                                              -1, 0)
                values.update({f'AP{end}': precision, f'AUC{end}': area})
            for key, value in values.items():
                table[key] = _named(value, task.classes)
            if task.nested and task.num_classes > 1 and not end:
                table['Ratio-error' + at] = _ratio_errors(
                    stacked['heights'][:, index], task)
    return table


def _ratio_errors(heights, task):
    """Compare heights (images, 2, C), relative to the outermost region."""
    predicted, truth = np.moveaxis(_ratio(heights, heights[..., :1]), 1, 0)
    # Without the outermost region nothing is predicted: a ratio of 0.
    error = np.abs(np.nan_to_num(predicted) - truth)
    return _named(error[:, 1:], task.classes[1:])


def image_rows(stacked: dict, task: Task, names: Sequence[str]) -> list[dict]:
    """The metrics of every image: ``name``, {metric: {class: float}}, and
    ``counts`` (for nested classes ``regions``, too): {operating point: {class:
    {'tp': ...}}}.
    """
    table = image_table(stacked, task)
    counts = dict(counts=stacked['counts'][:, 0])
    if task.nested:
        counts['regions'] = stacked['regions']
    points = [str(point) for point in stacked['points'][0]]
    rows = []
    for i, name in enumerate(names):
        row = dict(name=name)
        for key, values in table.items():
            row[key] = {
                c: float(of_class[i])
                for c, of_class in values.items()
            }
        for kind, values in counts.items():
            row[kind] = {
                point: {
                    c: dict(zip(CONFUSION, of_class))
                    for c, of_class in zip(task.classes, of_point)
                }
                for point, of_point in zip(points, values[i].tolist())
            }
        rows.append(row)
    return rows


def comparable_table(stacked: dict, task: Task, weights: np.ndarray,
                     rankings: np.ndarray) -> Table:
    """The comparable metrics of a task; ``rankings`` are pooled ROC AUC and
    average precision, (draws, R, C, 2).
    """
    images = image_table(stacked, task)

    def image_mean(key):
        values = [v for c, v in images[key].items() if c != 'mean']
        return _means(weights, np.stack(values, axis=-1))

    table = {}
    for region, end in zip(range(rankings.shape[1]), REGIONS):
        values = {
            'AP': rankings[:, region, :, 1],
            'AUC-pooled': rankings[:, region, :, 0],
        }
        for key in ('AP', 'AUC', 'Dice'):
            values[f'{key}-image'] = image_mean(key + end)
        for index, point in enumerate(stacked['points'][0]):
            if index:
                values[f'Dice-image@{point}'] = image_mean(
                    f'Dice@{point}{end}')
            found = overlap(
                _totals(weights, stacked['counts'][:, region, index]))
            found['Sensitivity'] = found.pop('Recall')
            values.update({f'{k}@{point}': v for k, v in found.items()})
        for key, value in values.items():
            table[key + end] = _named(value, task.classes)
    for key in images:
        if key.startswith('Ratio-error'):
            table[key] = _named(image_mean(key), task.classes[1:])
    return table


def summary(metrics: dict,
            task: Task) -> tuple[list[list[str]], dict[str, float]]:
    """Lay out what ``compute`` returned: rows of a table, the header first,
    and a flat dict with names as ``Dice.EX`` and ``mDice``, of which published
    ones win.
    """
    kinds = ('published', 'comparable')
    columns = [
        column for column in ('background', *task.classes, 'mean') if any(
            column in row for kind in kinds for row in metrics[kind].values())
    ]
    rows, flat = [['metric', *columns]], {}
    for kind in kinds:
        for key, row in metrics[kind].items():
            ends = metrics.get('intervals', {}).get(kind, {}).get(key, {})
            rows.append([key] + [_cell(row, ends, c) for c in columns])
            for column, value in row.items():
                name = 'm' + key if column == 'mean' else f'{key}.{column}'
                flat.setdefault(name, value)
    return rows, flat


def _cell(row, ends, column):
    if column not in row:
        return ''
    text = format(row[column], '.4f')
    if column in ends and not np.isnan(ends[column][0]):
        text += ' [{:.4f}, {:.4f}]'.format(*ends[column])
    return text
