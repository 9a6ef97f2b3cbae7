"""Metrics from sums: the published ones and the comparable ones.

docs/evaluation.md defines every metric. Here each is computed for several
draws of the images at once (``bootstrap``), the first of which is the test
set as it is.
"""
from collections.abc import Sequence

import numpy as np

from mbos.tasks import Task

Table = dict[str, dict[str, np.ndarray]]
"""Values of every draw, or image, by metric and by class, 'background' or
'mean'."""

CONFUSION = ('tp', 'fp', 'fn', 'tn')
"""tuple[str]: Order of the counts in sums."""

FOV = '-fov'
"""str: Ends the names of metrics inside the field of view."""

REGIONS = ('', FOV)
"""tuple[str]: Ends of names by region of the sums."""

OTHER_NAMES = dict(Precision='PPV', Sensitivity='Recall')
"""dict[str, str]: How published tables may name comparable metrics."""


def _ratio(above, below):
    """Divide; NaN where the denominator is 0."""
    above, below = np.broadcast_arrays(
        np.asarray(above, dtype=np.float64),
        np.asarray(below, dtype=np.float64))
    return np.divide(
        above, below, out=np.full(above.shape, np.nan), where=below != 0)


def mean_of_defined(values: np.ndarray) -> np.ndarray:
    """Average over the last axis what is not NaN."""
    defined = ~np.isnan(values)
    return _ratio(np.where(defined, values, 0).sum(-1), defined.sum(-1))


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


def _named(values: np.ndarray,
           classes: Sequence[str]) -> dict[str, np.ndarray]:
    """Name the values (..., C) by class and add their mean."""
    row = {name: values[..., i] for i, name in enumerate(classes)}
    if len(classes) > 1:
        row['mean'] = mean_of_defined(values)
    return row


def published_table(stacked: dict, task: Task, draws: Draws) -> Table:
    """The published metrics of a task, from the stacked sums of all images."""
    counts = stacked['published']
    area = draws.mean(stacked['ranking'][:, 0, :, 0])
    keys = ('IoU', 'Dice', 'Precision', 'Recall')
    total, sides = draws.total(counts), task.classes
    if task.num_classes == 1:
        # From the background both kinds of right and of wrong swap places.
        total = np.concatenate([total[..., ::-1], total], axis=1)
        sides = ('background', *sides)
    found = overlap(total)
    if task.num_classes == 1 or task.nested:
        table = {key: _named(found[key], sides) for key in keys}
        if task.num_classes == 1:
            table['Accuracy'] = _named(found['Accuracy'][:, 1:], task.classes)
            table['AUC'] = _named(area, task.classes)
            otsu = draws.mean(stacked['otsu'])
            for i, key in enumerate(('Sensitivity', 'Specificity', 'PPV')):
                table[f'{key}@Otsu'] = _named(otsu[:, i:i + 1], task.classes)
        return table
    wrong = _ratio(counts[..., 1:3].sum(-1), counts.sum(-1))
    values = dict(
        IoU=found['IoU'],
        Dice=found['Dice'],
        PPV=found['Precision'],
        Sensitivity=found['Recall'],
        MAE=draws.mean(wrong),
        AUC=area,
        AUPR=_trapezoid(draws.total(stacked['curve'])))
    return {key: _named(v, task.classes) for key, v in values.items()}


def _trapezoid(counts):
    """The published area under 11 points, of counts (..., 11, 4)."""
    found = overlap(counts)
    precision = np.nan_to_num(found['Precision'], nan=1.0)
    recall = np.nan_to_num(found['Recall'], nan=0.0)
    # Thresholds ascend, so recall descends.
    return -np.trapezoid(precision, recall, axis=-1)


def image_table(stacked: dict, task: Task) -> Table:
    """The metrics of every image. ``stacked`` are sums, of all images."""
    points = stacked['points'][0]
    table: Table = {}
    for region, end in zip(range(stacked['counts'].shape[1]), REGIONS):
        counts = stacked['counts'][:, region]
        if task.nested and not end:
            counts = stacked['regions']
        for index, point in enumerate(points):
            at = f'@{point}' * (index > 0) + end
            found = overlap(counts[:, index])
            for key in ('Dice', 'IoU'):
                table[key + at] = _named(found[key], task.classes)
            for column, key in ((1, 'AP'), (0, 'AUC')):
                if not index:
                    table[key + end] = _named(
                        stacked['ranking'][:, region, :, column], task.classes)
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
    """The metrics of every image, one dict for each.

    Returns:
        list[dict]: ``name``, {metric: {class: float}}, and ``counts`` (for
        nested classes ``regions``, too): {operating point: {class: {'tp':
        ...}}}.
    """
    table = image_table(stacked, task)
    counts = dict(counts=stacked['counts'][:, 0])
    if task.nested:
        counts['regions'] = stacked['regions']
    return [
        dict(
            name=name,
            **{
                key: {
                    c: float(values[i])
                    for c, values in row.items()
                }
                for key, row in table.items()
            },
            **{
                kind: {
                    str(point): {
                        c: dict(zip(CONFUSION, of_class))
                        for c, of_class in zip(task.classes, of_point.tolist())
                    }
                    for point, of_point in zip(stacked['points'][i], values[i])
                }
                for kind, values in counts.items()
            }) for i, name in enumerate(names)
    ]


def comparable_table(stacked: dict, task: Task, draws: Draws,
                     rankings: np.ndarray) -> Table:
    """The comparable metrics of a task.

    Args:
        stacked: Sums of all images, stacked.
        task: Their task.
        draws: Which images count how often.
        rankings: Pooled ROC AUC and average precision, (draws, R, C, 2).
    """
    images = image_table(stacked, task)

    def image_mean(key):
        values = [v for c, v in images[key].items() if c != 'mean']
        return draws.mean(np.stack(values, axis=-1))

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
            found = overlap(draws.total(stacked['counts'][:, region, index]))
            found['Sensitivity'] = found.pop('Recall')
            values.update({f'{k}@{point}': v for k, v in found.items()})
        for key, value in values.items():
            table[key + end] = _named(value, task.classes)
    for key in images:
        if key.startswith('Ratio-error'):
            table[key] = _named(image_mean(key), task.classes[1:])
    return table


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
        stay empty, and without comparable rows that repeat a published one),
        and a flat dict with names as ``Dice.EX`` and ``mDice``. Published
        names win where both kinds have one.
    """
    columns = ['background', *task.classes, 'mean']
    lines = [(kind, key, row) for kind in ('published', 'comparable')
             for key, row in metrics[kind].items()]
    columns = [c for c in columns if any(c in row for _, _, row in lines)]
    rows = [['metric'] + columns]
    flat = {}
    for kind, key, row in lines:
        ends = intervals[kind][key] if intervals else {}
        if kind == 'published' or not _repeats(key, row, metrics['published']):
            rows.append([key] + [_cell(row, ends, c) for c in columns])
        for column, value in row.items():
            name = 'm' + key if column == 'mean' else f'{key}.{column}'
            flat.setdefault(name, value)
    return rows, flat


def _repeats(key, row, published):
    """Whether a published metric of the same meaning has the same values."""
    name = key.partition('@')[0]
    own = published.get(name, published.get(OTHER_NAMES.get(name), {}))
    return not key.endswith(FOV) and all(
        column in own and np.array_equal(own[column], value, True)
        for column, value in row.items())


def _cell(row, ends, column):
    if column not in row:
        return ''
    text = format(row[column], '.4f')
    if column in ends and ends[column][0] == ends[column][0]:
        text += ' [{:.4f}, {:.4f}]'.format(*ends[column])
    return text
