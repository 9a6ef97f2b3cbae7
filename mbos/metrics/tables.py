"""Metrics of a test set from the sums of its images.

docs/evaluation.md defines every metric. Here each is computed for several
draws of the images at once (``bootstrap``), the first of which is the test
set as it is. Weights say how often each draw has each image, (draws, images).
Sums are gone through twice, and only a few numbers per image are kept.
"""
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from mbos.tasks import Task
from .bootstrap import Bootstrap, pooled_rankings
from .scores import calibration, curve_points, ratio, unpack_histograms

Values = dict[str, np.ndarray]
"""By metric, of every draw (or image) and of the last classes of 'background'
and the task's: (draws, C)."""

CONFUSION = ('tp', 'fp', 'fn', 'tn')  # order of the counts in sums
REGIONS = ('', '-fov')  # ends of names: all pixels, those in the field of view


def compute(sums: Sequence[dict],
            task: Task,
            names: Sequence[str] | None = None,
            bootstrap: Bootstrap | None = None) -> dict:
    """Turn the sums of images, of ``sums.update``, into metrics: the part of
    an evaluation's JSON that is about a task (docs/evaluation.md), with NaN
    where numbers are undefined, as intervals are without a bootstrap or with a
    single image. ``names`` are of the images."""
    count = len(sums)
    stacked, scores = gather(sums, task)
    weights = np.ones((1, count))
    if bootstrap is not None and count > 1:
        weights = np.concatenate([weights, bootstrap.weights(count)])
    images = (
        unpack_histograms(one['scores'], task.num_classes) for one in sums)
    rankings = pooled_rankings(scores, images, weights)

    def cell(draws):
        low, high = (bootstrap or Bootstrap()).interval(draws[1:])
        return dict(value=float(draws[0]), low=low, high=high)

    report = dict(
        classes=list(task.classes),
        nested=task.nested,
        images=count,
        thresholds={
            str(point): dict(zip(task.classes, values.tolist()))
            for point, values in zip(stacked['points'][0],
                                     stacked['thresholds'][0])
        },
        published=table_of(published(stacked, task, weights), task, cell),
        comparable=table_of(
            comparable(stacked, task, weights, rankings), task, cell),
        per_image=image_rows(stacked, task, names or range(count)))
    for region, end in zip(np.moveaxis(scores, 0, 2), REGIONS):
        by_class = list(zip(task.classes, region))
        report['curves' + end] = {c: curve_points(*own) for c, own in by_class}
        report['calibration' + end] = {
            c: calibration(*own)
            for c, own in by_class
        }
    return report


def gather(sums: Sequence[dict], task: Task) -> tuple[dict, np.ndarray]:
    """The sums of all images without scores, stacked, and the scores of all
    images together, (2, R, C, bins); a ValueError if there are no images."""
    if not len(sums):
        raise ValueError(f'Task {task.name!r}: no image to evaluate. Check '
                         'the image and annotation folders of the test set.')
    scores, light = np.int64(0), []
    for one in sums:
        light.append({k: v for k, v in one.items() if k != 'scores'})
        scores = scores + unpack_histograms(one['scores'], task.num_classes)
    return {key: np.stack([p[key] for p in light]) for key in light[0]}, scores


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
    several columns; ``cell`` makes of a column what the table has."""
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
                heights = stacked['heights'][:, index]  # (images, 2, C)
                predicted, truth = np.moveaxis(
                    ratio(heights, heights[..., :1]), 1, 0)
                # Without the outermost region nothing is predicted.
                errors = np.abs(np.nan_to_num(predicted) - truth)
                values['Ratio-error' + at] = errors[:, 1:]
    return values


def image_rows(stacked: dict, task: Task, names: Iterable) -> list[dict]:
    """The metrics and counts of every image, as docs/evaluation.md describes
    rows of ``per_image``."""
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
    average precision, (draws, R, C, 2)."""
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
    ones win."""
    rows, flat = [], {}
    tables = report['published'], report['comparable']
    used = {c for table in tables for row in table.values() for c in row}
    columns = ['background', *report['classes'], 'mean']
    columns = [column for column in columns if column in used]
    for table in tables:
        for key, row in table.items():
            texts = dict.fromkeys(columns, '')
            for column, cell in row.items():
                name = f'm{key}' if column == 'mean' else f'{key}.{column}'
                flat.setdefault(name, cell['value'])
                has_interval = cell['low'] == cell['low']
                texts[column] = '{value:.4f}'.format(**cell) + (
                    ' [{low:.4f}, {high:.4f}]'.format(**cell) * has_interval)
            rows.append([key, *texts.values()])
    return [['metric', *columns], *rows], flat
