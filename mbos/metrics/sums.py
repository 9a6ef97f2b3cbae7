"""Small sums per image, of which ``tables.compute`` makes metrics.

Sums hold no map, and lists of sums of several processes, joined, give exactly
what one process gives. Which there are depends on the task (docs/method.md,
sections 8 and 9): one class, exclusive or nested classes.
"""
import os
import os.path as osp
import shutil
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial

import cv2
import numpy as np
import torch

from mbos.io.files import save_whole
from mbos.tasks import IGNORE_INDEX, Task
from .scores import (area_and_precision, count_above, histogram,
                     pack_histograms, rank_scores, ratio)

OPERATING_POINT = 0.5  # of the published counts
CURVE = tuple(i / 10 for i in range(11))  # the published thresholds

Sums = dict[str, np.ndarray]
"""Arrays by name, with R regions (all pixels; those in the field of view) and
K operating points (the first one is the same for all classes): ``points``,
their names, ``thresholds`` (K, C), ``counts`` (R, K, C, 4) in the order of
``tables.CONFUSION``, ``ranking`` (R, C, 2), ROC AUC and average precision,
``scores``, packed (2, R, C, bins), ``curve`` (C, 11, 4), ``published`` (C, 4);
of single classes ``otsu``; of nested ones ``regions`` (K, C, 4) and
``heights`` (K, 2, C)."""


def update(prob: np.ndarray,
           label: np.ndarray,
           task: Task,
           fov: np.ndarray | None = None,
           threshold: float = OPERATING_POINT,
           ignore_index: int | None = IGNORE_INDEX,
           points: Mapping[str, Sequence[float]] | None = None) -> Sums:
    """Make the sums of one image from probabilities (C, H, W), float32, and
    labels of the task (H, W), uint8.

    With a boolean field of view (H, W), comparable metrics exist inside it,
    too. ``ignore_index`` labels pixels that are left out; None treats 255 as
    the release does: left out of the counts of a single class but negative in
    its curves, background of exclusive classes, outermost of nested ones.
    ``points`` are further operating points, with a threshold per class.
    A ValueError is raised if shapes do not fit or no probability is given."""
    prob = np.asarray(prob, dtype=np.float32)
    for plane in (label, label if fov is None else fov):
        if prob.shape != (task.num_classes, *plane.shape):
            raise ValueError(
                f'The task has {task.num_classes} classes, labels or field of '
                f'view have the shape {plane.shape}, but the probabilities '
                f'{prob.shape}.')
    targets, valid, count_valid = _encode(label, task, ignore_index)
    limits = {f'{threshold:.4g}': task.num_classes * [threshold]}
    limits |= points or {}
    thresholds = np.array(list(limits.values()), dtype=np.float32)
    masks = [valid] if fov is None else [fov.astype(bool), ~fov.astype(bool)]
    if fov is not None and valid is not None:
        masks = [mask & valid for mask in masks]
    of_class = partial(_class_sums, masks)
    # The threads end here: a process that is forked later has none of them.
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        columns = zip(*pool.map(of_class, prob, targets, thresholds.T))
    ranking, scores, counts, curve = (np.stack(
        parts, axis) for parts, axis in zip(columns, (1, 2, 2, 0)))
    published = curve[:, CURVE.index(OPERATING_POINT)]
    if count_valid is not valid:
        published = np.stack([
            _confusion(p > OPERATING_POINT, t, count_valid)
            for p, t in zip(prob, targets)
        ])
    sums = dict(
        points=np.array(list(limits)),
        thresholds=thresholds,
        counts=counts,
        ranking=ranking,
        scores=pack_histograms(scores),
        curve=curve,
        published=published)
    if task.num_classes == 1:
        sums['otsu'] = _otsu(prob[0], targets[0], valid)
    if task.nested:
        found = [_nested(prob, targets, valid, own) for own in thresholds]
        sums['regions'], sums['heights'] = map(np.stack, zip(*found))
    return sums


def _encode(label, task, ignore_index):
    """Make targets, validity of scores and validity of published counts, None
    for all pixels."""
    is_ignored = label == (
        IGNORE_INDEX if ignore_index is None else ignore_index)
    values = np.arange(1, task.num_classes + 1, dtype=np.uint8)[:, None, None]
    targets = label == values
    if task.nested:
        targets = (label >= values) & (label <= task.num_classes)
    if not is_ignored.any():
        return targets, None, None
    valid = ~is_ignored
    targets &= valid
    if ignore_index is not None:
        return targets, valid, valid
    if task.nested:
        targets[0] |= is_ignored
    return targets, None, valid if task.num_classes == 1 else None


def _class_sums(masks, prob, target, thresholds):
    """Rank the scores of one class in the parts of an image, that in the field
    of view and the other, and make the sums that follow from it."""
    parts = [rank_scores(prob, target, mask) for mask in masks]
    # regions are all parts together, then the one in the field of view
    ranking = [area_and_precision(parts[:n]) for n in range(len(parts), 0, -1)]
    scores = np.cumsum([histogram(part) for part in parts], 0)[::-1]
    counts = [count_above(part, thresholds) for part in parts]
    curve = sum(count_above(part, CURVE) for part in parts)
    return ranking, scores.swapaxes(0, 1), np.cumsum(counts, 0)[::-1], curve


def _confusion(predicted, target, valid):
    """Count true and false positives, false and true negatives."""
    if valid is not None:
        predicted, target = predicted & valid, target & valid
    total = target.size if valid is None else np.count_nonzero(valid)
    true_pos = np.count_nonzero(predicted & target)
    false_pos = np.count_nonzero(predicted) - true_pos
    false_neg = np.count_nonzero(target) - true_pos
    true_neg = total - true_pos - false_pos - false_neg
    return np.array([true_pos, false_pos, false_neg, true_neg])


def _otsu(prob, target, valid):
    """Se, Sp and PPV at the image's Otsu threshold, which is that of the 8-bit
    map ``floor(255 p)``; pixels above it are foreground."""
    if valid is not None:
        prob, target = prob[valid], target[valid]
    grey, threshold = (prob * np.float32(255)).astype(np.uint8), 0
    if grey.size:
        threshold = int(cv2.threshold(grey, 0, 255, cv2.THRESH_OTSU)[0])
    tp, fp, fn, tn = _confusion(grey > threshold, target, None)
    return ratio(np.array([tp, tn, tp]), np.array([tp + fn, tn + fp, tp + fp]))


def _nested(prob, targets, valid, limits):
    """Count nested regions and measure their height, as REFUGE does.

    Both follow the label map, so a region holds all regions further in. The
    height of a region is its largest number of pixels in one column."""
    predicted = prob > limits.reshape(-1, 1, 1)
    for inner in range(len(prob) - 1, 0, -1):
        predicted[inner - 1] |= predicted[inner]
    if valid is not None:
        predicted &= valid
    counts = [_confusion(p, t, valid) for p, t in zip(predicted, targets)]
    heights = [[
        cv2.reduce(np.uint8(mask), 0, cv2.REDUCE_SUM, dtype=cv2.CV_32S).max()
        for mask in masks
    ] for masks in (predicted, targets)]
    return np.stack(counts), np.array(heights, dtype=np.int64)


def save_sums(path: str, sums: Mapping[str, Sums]) -> None:
    """Write the sums of an image, by task: an archive without pickle, because
    others may write to the folder."""
    arrays = {f'{task}/{name}': value for task, own in sums.items()
              for name, value in own.items()}  # yapf: disable
    save_whole(path, lambda file: np.savez(file, **arrays))


def remove_sums(folder: str) -> None:
    """Remove a folder of sums, and the one around it if that is empty."""
    shutil.rmtree(folder, ignore_errors=True)
    with suppress(OSError):
        os.rmdir(osp.dirname(folder))


class StoredSums(Sequence):
    """The sums of a test set for one task, read from their files when they are
    asked for, so that memory does not hold them."""

    def __init__(self, paths: Sequence[str], task: str):
        self.paths, self.start = paths, f'{task}/'

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Sums:
        path, start = self.paths[index], self.start
        try:
            with np.load(path) as archive:
                names = [n for n in archive.files if n.startswith(start)]
                return {n.removeprefix(start): archive[n] for n in names}
        except Exception as error:  # of zipfile, zlib and NumPy: many kinds
            raise ValueError(f'{path}: no whole archive of arrays ({error}); '
                             'remove the folder.') from error
