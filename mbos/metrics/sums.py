"""Metrics of one task: small sums per image, then a table.

``update`` makes the sums of one image, ``report.compute`` turns a list of
them into metrics. Sums hold no map, and lists of sums of several processes,
joined, give exactly what one process gives.

Which metrics there are depends on the task (docs/method.md, sections 8 and
9): one class (the vessel protocol), exclusive classes (the lesion protocol)
or nested classes (the disc and cup protocol). ``tables`` names them all.
"""
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import cv2
import numpy as np
import torch

from mbos.tasks import IGNORE_INDEX, Task
from .score_histogram import make_histogram, pack_histogram
from .score_ranking import (EXACT_THRESHOLDS, area_and_precision, cache_blocks,
                            count_above, rank_scores, score_range)

OPERATING_POINT = 0.5
"""float: Threshold of the published counts."""

Sums = dict[str, np.ndarray | dict]


def update(prob: np.ndarray,
           label: np.ndarray,
           task: Task,
           fov: np.ndarray | None = None,
           threshold: float = OPERATING_POINT,
           ignore_index: int | None = IGNORE_INDEX,
           points: Mapping[str, Sequence[float]] | None = None) -> Sums:
    """Make the sums of one image.

    Args:
        prob: Probabilities of shape (C, H, W), float32.
        label: Labels of shape (H, W), uint8.
        task: Says what the labels mean.
        fov: Boolean field of view (H, W). With it, all comparable metrics
            exist inside it, too.
        threshold: Operating point of the comparable counts, one for all
            classes; the published ones stay at 0.5.
        ignore_index: Label of the pixels left out. None treats 255 as the
            release does: left out of the counts of a single class but
            negative in its curves, background of exclusive classes,
            outermost of nested ones.
        points: Further operating points by name, each with a threshold per
            class.

    Returns:
        dict: Arrays and dicts of arrays, picklable, some 0.1 MB per class.

    Raises:
        ValueError: If shapes do not fit, or a probability is not in [0, 1].
    """
    prob = np.asarray(prob, dtype=np.float32)
    label = np.asarray(label)
    extents = _check(prob, label, task, fov)
    targets, valid, count_valid = _encode(label, task, ignore_index)
    limits = dict(fixed=np.full(task.num_classes, threshold, np.float32))
    for name, values in (points or {}).items():
        limits[name] = np.asarray(values, dtype=np.float32)
    by_class = np.stack(list(limits.values()), axis=1)
    outside = None if fov is None else ~fov.astype(bool)
    parts = _by_class(
        partial(_class_sums, valid, outside), prob, targets, by_class, extents)
    ranked, square, *fields = zip(*parts)
    sums = _region_sums(square, limits)
    if count_valid is not valid:
        sums['published'] = np.stack([
            _confusion(p > OPERATING_POINT, t, count_valid)
            for p, t in zip(prob, targets)
        ])
    else:
        sums['published'] = np.stack(
            [count_above(r, [OPERATING_POINT])[0] for r in ranked])
    _add_protocol(sums, task, prob, targets, valid, ranked, limits)
    if fields:
        sums['fov'] = _region_sums(fields[0], limits)
    return sums


def _add_protocol(sums, task, prob, targets, valid, ranked, limits):
    """Add what only one kind of task has."""
    if task.num_classes == 1:
        sums['otsu'] = _otsu_figures(prob[0], targets[0], valid)
    if task.nested:
        for name, own in limits.items():
            one = sums if name == 'fixed' else sums['points'][name]
            one.update(_nested_sums(prob, targets, valid, own))
    elif task.num_classes > 1:
        sums['curve'] = np.stack(
            [count_above(r, EXACT_THRESHOLDS) for r in ranked])


def _check(prob, label, task, fov):
    """Refuse what cannot be counted; the range of scores of each class."""
    if prob.ndim != 3 or prob.shape[0] != task.num_classes:
        raise ValueError(
            f'Task {task.name!r} has {task.num_classes} classes: expected '
            f'probabilities of shape ({task.num_classes}, H, W), got '
            f'{prob.shape}.')
    for name, plane in (('label', label), ('field of view', fov)):
        if plane is not None and plane.shape != prob.shape[1:]:
            raise ValueError(
                f'Task {task.name!r}: the {name} has shape {plane.shape}, '
                f'the probabilities {prob.shape[1:]}; they must be of one '
                'size.')
    if prob.size == 0:
        raise ValueError(f'Task {task.name!r}: the image has no pixels.')
    extents = _by_class(score_range, prob)
    low, high = np.min(extents), np.max(extents)
    if np.isnan(low):
        raise ValueError(
            f'Task {task.name!r}: {np.count_nonzero(np.isnan(prob))} of '
            f'{prob.size} probabilities are NaN; the network or its '
            'checkpoint is broken.')
    if low < 0 or high > 1:
        raise ValueError(
            f'Task {task.name!r}: probabilities must lie in [0, 1], got '
            f'{low} to {high}; pass them through a sigmoid first.')
    return extents


def _encode(label, task, ignore_index):
    """Make targets, validity of scores and validity of published counts.

    A validity of None means all pixels.
    """
    is_ignored = label == (
        IGNORE_INDEX if ignore_index is None else ignore_index)
    values = np.arange(1, task.num_classes + 1, dtype=np.uint8)
    values = values.reshape(-1, 1, 1)
    if task.nested:
        targets = (label >= values) & (label <= task.num_classes)
    else:
        targets = label == values
    valid = ~is_ignored if is_ignored.any() else None
    if valid is not None:
        targets &= valid
    if ignore_index is not None or valid is None:
        return targets, valid, valid
    if task.num_classes == 1:
        return targets, None, valid
    if task.nested:
        targets[0] |= is_ignored
    return targets, None, None


def _class_sums(valid, outside, prob, target, limits, extent):
    """Rank the scores of one class, and make what follows from it.

    Returns the ranked scores, then what :func:`_region_sums` needs: on the
    square, and inside the field of view if there is one.
    """
    if valid is not None:
        prob, target = prob[valid], target[valid]
        outside = None if outside is None else outside[valid]
    regions = rank_scores(prob, target, outside, limits, extent)
    return regions[0], *[
        (count_above(ranked, limits), area_and_precision(ranked),
         pack_histogram(make_histogram(ranked))) for ranked in regions
    ]


def _region_sums(parts, limits):
    """Join what the classes give on the square or in the field of view.

    ``limits`` are the thresholds of each class by operating point, the first
    of which is the fixed one.
    """
    counts, ranking, scores = zip(*parts)
    # Of shape (operating points, C, 4).
    fixed, *others = np.stack(counts, axis=1)
    return dict(
        threshold=limits['fixed'][0],
        counts=fixed,
        points={
            name: dict(thresholds=limits[name], counts=own)
            for name, own in zip(list(limits)[1:], others)
        },
        ranking=np.array(ranking),
        scores=dict(enumerate(scores)))


def _by_class(function, *columns):
    """Call a function for each class, in as many threads as torch may use.

    The threads end here: a process that is forked later has none of them.
    """
    workers = min(len(columns[0]), torch.get_num_threads())
    if workers == 1:
        return list(map(function, *columns))
    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(function, *columns))


def _confusion(predicted, target, valid):
    """Count true and false positives, false and true negatives."""
    if valid is not None:
        predicted, target = predicted[valid], target[valid]
    true_pos = np.count_nonzero(predicted & target)
    false_pos = np.count_nonzero(predicted) - true_pos
    false_neg = np.count_nonzero(target) - true_pos
    rest = target.size - true_pos - false_pos - false_neg
    return np.array([true_pos, false_pos, false_neg, rest], dtype=np.int64)


def _otsu_figures(prob, target, valid):
    """Compute Se, Sp, PPV and the threshold at the image's Otsu threshold.

    The threshold is that of the 8-bit map ``floor(255 p)``; pixels above it
    are foreground.
    """
    if valid is not None:
        prob, target = prob[valid], target[valid]
    prob, target = prob.ravel(), target.ravel()
    grey, counts = np.empty(prob.shape, np.uint8), np.zeros(256, np.int64)
    for block in cache_blocks(prob.size):
        grey[block] = prob[block] * np.float32(255)
        counts += np.bincount(grey[block], minlength=256)
    positives = np.bincount(grey[target], minlength=256)
    threshold = 0
    if grey.size:
        threshold = int(cv2.threshold(grey, 0, 255, cv2.THRESH_OTSU)[0])
    true_pos = positives[threshold + 1:].sum()
    above = counts[threshold + 1:].sum()
    num_pos, num = positives.sum(), counts.sum()
    true_neg = num - above - (num_pos - true_pos)
    pairs = [(true_pos, num_pos), (true_neg, num - num_pos), (true_pos, above)]
    return np.array([a / b if b else np.nan
                     for a, b in pairs] + [threshold / 255])


def _nested_sums(prob, targets, valid, limits):
    """Count nested regions and measure their height, as REFUGE does.

    Both follow the label map, so a region holds all regions further in. The
    height of a region is its largest number of pixels in one column.
    """
    above = prob > limits.reshape(-1, 1, 1)
    predicted = np.logical_or.accumulate(above[::-1], axis=0)[::-1]
    counts = np.stack(
        [_confusion(p, t, valid) for p, t in zip(predicted, targets)])
    if valid is not None:
        predicted, targets = predicted & valid, targets & valid
    heights = np.stack([
        masks.sum(axis=1).max(axis=-1).astype(np.int64)
        for masks in (predicted, targets)
    ])
    return dict(regions=counts, heights=heights)
