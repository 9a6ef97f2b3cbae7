"""Scores of one image in order, found without sorting all of them.

Written here because libraries are too slow: scikit-learn's roc_curve sorts
every score of every class, and even torch's sort of all of them leaves a
third of the speed (python benchmarks/evaluation.py speed: an image of
1024x1024 and four classes took 6.9 s that way, 2.2 s sorted, 0.8 s here).

A probability becomes an integer *key* that keeps the order of all float32
numbers in [0, 1] exactly and is as fine next to 1 as next to 0: the bit
pattern of p up to one half, mirrored with that of 1 - p above. So scores that
a saturated sigmoid squeezes below 1e-3 or above 0.999 stay apart.

The metrics of one image are exact: only negatives in bins of keys without a
positive or a threshold are counted instead of being sorted.
"""
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

MAX_GROUPS = 1 << 16
"""int: Bins per image, class and side (positive or negative)."""

_HALF = int(np.float32(0.5).view(np.int32))

_TABLE_BITS = 21
"""int: Bins of the table that replaces sorting, as a number of bits."""

_SAMPLE = 4096
"""int: Pixels looked at to choose the width of bins."""

_MOST_TIES = 8
"""int: Equal neighbours in the sample above which scores are sorted."""

EXACT_THRESHOLDS = tuple(i / 10 for i in range(11))
"""tuple[float]: Thresholds at which counts are always exact."""


class RankedScores(NamedTuple):
    """Scores of one image, ascending.

    ``below[i]`` is the number of negative pixels before ``negatives[i]``; its
    last element is the number of all.
    """

    positives: np.ndarray
    negatives: np.ndarray
    below: np.ndarray


def score_keys(prob: np.ndarray) -> np.ndarray:
    """Map probabilities in [0, 1] to int32 keys of the same order and shape.

    Keys are equal where and only where the float32 probabilities are equal.
    """
    prob = np.asarray(prob, dtype=np.float32)
    # 1 - p is exact in float32 for p in [0.5, 1]. The bit pattern of -0.0 is
    # far from that of 0.0, so the sign goes.
    nearer = np.subtract(np.float32(1), prob)
    np.minimum(nearer, prob, out=nearer)
    keys = np.abs(nearer, out=nearer).view(np.int32)
    # Mirrored by arithmetic, 2 H - k = (k ^ -1) + (2 H + 1), as selecting
    # pixels would take ten times as long.
    mirror = np.negative((prob > 0.5).view(np.int8), dtype=np.int32)
    keys ^= mirror
    mirror &= np.int32(2 * _HALF + 1)
    keys += mirror
    return keys


def key_scores(keys: np.ndarray) -> np.ndarray:
    """Map keys back to the probabilities that they stand for."""
    keys = np.asarray(keys)
    upper = keys > _HALF
    bits = np.where(upper, 2 * _HALF - keys, keys).astype(np.int32)
    scores = bits.view(np.float32)
    return np.where(upper, np.float32(1) - scores, scores)


def rank_scores(
    keys: np.ndarray,
    target: np.ndarray,
    valid: np.ndarray | None = None,
    thresholds: Sequence[float] = ()
) -> RankedScores:
    """Sort the keys of the valid positive and negative pixels.

    Args:
        keys: Of shape (H, W).
        target: Boolean, (H, W).
        valid: Boolean mask of the pixels that count; None counts all.
        thresholds: Further thresholds at which counts must be exact.

    Returns:
        RankedScores: Both sides, ascending. Negatives in a bin without a
        positive, a threshold or one of the highest scores may stand at its
        centre, which changes no rank of a positive.
    """
    keys, target = keys.ravel(), target.ravel()
    if valid is not None:
        inside = np.flatnonzero(valid)
        keys, target = keys[inside], target[inside]
    positives, negatives = _sort(keys[target]), keys[~target]
    exact = score_keys(np.float32(EXACT_THRESHOLDS + tuple(thresholds)))
    exact = np.concatenate([positives, exact])
    # Most bins have to be free of positives to save any sorting.
    grid = _choose_grid(negatives, max(MAX_GROUPS, 8 * len(positives)))
    if grid is None:
        negatives = _sort(negatives)
        return RankedScores(positives, negatives,
                            np.arange(len(negatives) + 1))
    return RankedScores(positives, *_rank_on_grid(negatives, exact, *grid))


def _choose_grid(keys, wanted):
    """Find bins narrow enough for the scores that most pixels have.

    Returns None where sorting is cheaper, or needed because the scores lie
    close together or on a lattice (as those next to 1, or of half precision),
    where ties between images count; otherwise the lowest key and the bits of
    a key in a bin.
    """
    if len(keys) <= 4 * MAX_GROUPS:
        return None
    sample = np.sort(keys[::len(keys) // _SAMPLE])
    gaps = np.diff(sample)
    if np.count_nonzero(gaps == 0) > _MOST_TIES:
        return None
    low, high = int(keys.min()), int(keys.max())
    shift = max(0, (high - low).bit_length() - _TABLE_BITS)
    share = len(keys) // len(sample)
    # Pixels between two of the sample fill as many bins as there are, or as
    # they are themselves.
    while np.minimum(gaps >> (shift + 1), share).sum() > wanted:
        shift += 1
    if np.minimum(gaps >> shift, share).sum() < MAX_GROUPS // 2:
        return None
    # Aligned, so that every bin lies within one group of `make_histogram`.
    return low >> shift << shift, shift


def _rank_on_grid(keys, exact, low, shift):
    """Count keys by bins, and sort those in bins where ranks matter.

    ``keys`` are of negatives, in any order; the bins of the keys ``exact``
    are sorted. ``low`` is the lowest key, ``shift`` the bits of a key inside
    a bin. Returns ``RankedScores.negatives`` and ``below``.
    """
    bins = np.subtract(keys, low, dtype=np.int64)
    bins >>= shift
    counts = np.bincount(bins)
    needed = np.zeros(len(counts), dtype=bool)
    places = (exact.astype(np.int64) - low) >> shift
    needed[places[(places >= 0) & (places < len(counts))]] = True
    used = np.flatnonzero(counts > 0)
    counts = counts[used]
    highest = np.cumsum(counts[::-1])[::-1] <= MAX_GROUPS // 8
    needed[used[highest]] = True
    apart = _sort(keys[np.flatnonzero(needed.take(bins, mode='clip'))])
    whole = ~needed[used]
    # Every bin gets one place, or one for each of its keys.
    ends = np.cumsum(np.where(whole, 1, counts))
    centres = ends[whole] - 1
    ranked = np.empty(ends[-1], dtype=np.int32)
    sizes = np.ones(ends[-1], dtype=np.int64)
    is_apart = np.ones(ends[-1], dtype=bool)
    is_apart[centres] = False
    ranked[centres] = low + (used[whole] << shift) + (1 << shift >> 1)
    ranked[is_apart] = apart
    sizes[centres] = counts[whole]
    return ranked, np.concatenate([[0], np.cumsum(sizes)])


def _sort(keys):
    # torch sorts integers of this size about twice as fast as numpy.
    return torch.sort(torch.from_numpy(keys)).values.numpy()


def count_above(ranked: RankedScores,
                thresholds: Sequence[float]) -> np.ndarray:
    """Count the confusion of ``p > threshold`` at each float32 threshold.

    Returns:
        ndarray: True positives, false positives, false negatives and true
        negatives, int64 (thresholds, 4).
    """
    keys = score_keys(np.float32(thresholds))
    positives, negatives, below = ranked
    false_neg = np.searchsorted(positives, keys, side='right')
    true_neg = below[np.searchsorted(negatives, keys, side='right')]
    true_pos, false_pos = len(positives) - false_neg, below[-1] - true_neg
    counts = np.stack([true_pos, false_pos, false_neg, true_neg], axis=-1)
    return counts.astype(np.int64)


def area_and_precision(ranked: RankedScores) -> tuple[float, float]:
    """Exact ROC AUC and average precision of one image.

    Equal scores are ties, as in scikit-learn. NaN without positives; the area
    also without negatives.
    """
    positives, negatives, below = ranked
    total, num_negatives = len(positives), int(below[-1])
    if total == 0:
        return float('nan'), float('nan')
    starts = np.flatnonzero(np.diff(positives, prepend=positives[0] - 1))
    counts = np.diff(starts, append=total)
    values = positives[starts]
    lower = below[np.searchsorted(negatives, values, side='left')]
    upper = below[np.searchsorted(negatives, values, side='right')]
    true_pos = (total - starts).astype(np.float64)
    precision = true_pos / (true_pos + num_negatives - lower)
    average = float(counts @ precision / total)
    if num_negatives == 0:
        return float('nan'), average
    area = (counts @ (lower + upper)) / (2.0 * total * num_negatives)
    return float(area), average
