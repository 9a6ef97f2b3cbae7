"""Scores of one image in order, found without sorting all of them.

Written here because libraries are too slow: scikit-learn's roc_curve sorts
every score of every class (python benchmarks/evaluation.py speed). Here one
pass over an image, a block that fits the cache at a time, counts the scores by
bins for all regions that are scored, and only few of them are sorted.

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

MAX_GROUPS = 1 << 16
"""int: Bins per image, class and side (positive or negative)."""

_HALF = int(np.float32(0.5).view(np.int32))

_TABLE_BITS = 18
"""int: Most bins of the table that replaces sorting, as a number of bits."""

_BLOCK = 1 << 16
"""int: Pixels looked at together."""

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


Regions = list[RankedScores]
"""list[RankedScores]: Of all pixels, and of those in the field of view."""


def score_keys(prob: np.ndarray) -> np.ndarray:
    """Map probabilities in [0, 1] to int32 keys of the same order and shape.

    Keys are equal where and only where the float32 probabilities are equal.
    """
    prob = np.asarray(prob, dtype=np.float32)
    if prob.size and prob.max() <= 0.5:
        return np.abs(prob).view(np.int32)
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


def cache_blocks(size: int) -> list[slice]:
    """Divide an array into parts that fit into a processor's cache."""
    return [slice(i, i + _BLOCK) for i in range(0, size, _BLOCK)]


def score_range(prob: np.ndarray) -> tuple[float, float]:
    """Find the lowest and the highest of probabilities; NaN if one is NaN."""
    parts = [prob.ravel()[block] for block in cache_blocks(prob.size)]
    low, high = np.array([(part.min(), part.max()) for part in parts]).T
    return float(low.min()), float(high.max())


def rank_scores(prob: np.ndarray,
                target: np.ndarray,
                outside: np.ndarray | None = None,
                thresholds: Sequence[float] = (),
                extent: tuple[float, float] | None = None) -> Regions:
    """Sort the scores of positive and of negative pixels.

    Args:
        prob: Probabilities in [0, 1], of any shape.
        target: Boolean, of the same shape.
        outside: Boolean mask of pixels that the second region leaves out.
        thresholds: Further thresholds at which counts must be exact.
        extent: What :func:`score_range` gives, if it is known already.

    Returns:
        list[RankedScores]: Of all pixels and, with ``outside``, of the others.
        Negatives in a bin without a positive, a threshold or one of the
        highest scores may stand at its centre, which changes no rank of a
        positive.
    """
    prob = np.ascontiguousarray(prob, dtype=np.float32).ravel()
    target = target.ravel()
    outside = None if outside is None else outside.ravel()
    at = np.flatnonzero(target)
    positives = score_keys(prob[at])
    sides = [np.sort(part) for part in _regions(positives, outside, at)]
    grid = _choose_grid(prob, target, len(positives), extent)
    if grid is None:
        at = np.flatnonzero(~target)
        negatives = _regions(score_keys(prob[at]), outside, at)
        return [
            RankedScores(side, np.sort(part), np.arange(len(part) + 1))
            for side, part in zip(sides, negatives)
        ]
    exact = score_keys(np.float32(EXACT_THRESHOLDS + tuple(thresholds)))
    counted = _count_on_grid(prob, target, outside, sides, exact, grid)
    return [
        RankedScores(side, *_ranked(counts, sorted_bins, apart, grid))
        for side, (counts, sorted_bins, apart) in zip(sides, counted)
    ]


def _regions(values, outside, at):
    """Values of the pixels ``at``: all, and those that are not outside."""
    return [values] if outside is None else [values, values[~outside[at]]]


class _Grid(NamedTuple):
    """Bins of keys: the lowest key, the bits of a key in a bin, how many."""

    low: int
    shift: int
    size: int

    def places(self, keys):
        """Bins of keys, which may lie below or above all bins."""
        return (keys.astype(np.int64) - self.low) >> self.shift

    def counts(self, keys):
        """How many of the keys are in each bin."""
        return np.bincount(self.places(keys), minlength=self.size)


def _choose_grid(prob, target, num_positives, extent):
    """Find bins narrow enough for the scores that most negatives have.

    Returns None where sorting is cheaper, or needed because the scores lie
    close together or on a lattice (as those next to 1, or of half precision),
    where ties between images count.
    """
    # Most bins have to be free of positives to save any sorting.
    wanted = max(MAX_GROUPS, 8 * num_positives)
    if prob.size - num_positives <= 4 * MAX_GROUPS:
        return None
    some = slice(None, None, prob.size // _SAMPLE)
    sample = np.sort(score_keys(prob[some][~target[some]]))
    gaps = np.diff(sample)
    if np.count_nonzero(gaps == 0) > _MOST_TIES:
        return None
    low, high = score_keys(np.float32(extent or score_range(prob))).tolist()
    shift = max(0, (high - low).bit_length() - _TABLE_BITS)
    share = prob.size // len(sample)
    # Pixels between two of the sample fill as many bins as there are, or as
    # they are themselves.
    while np.minimum(gaps >> (shift + 1), share).sum() > wanted:
        shift += 1
    if np.minimum(gaps >> shift, share).sum() < MAX_GROUPS // 2:
        return None
    # Aligned, so that every bin lies within one group of `make_histogram`.
    low = low >> shift << shift
    return _Grid(low, shift, (high - low >> shift) + 1)


def _count_on_grid(prob, target, outside, sides, exact, grid):
    """Count negatives by bins, and sort those in bins where ranks matter.

    These are the bins of the positives (``sides[0]``), of the keys ``exact``
    and of the highest scores.

    Returns, for each region, the number of negatives in each bin, which bins
    are sorted, and the keys in them, ascending.
    """
    sorted_bins = np.zeros(grid.size, dtype=bool)
    places = grid.places(np.concatenate([sides[0], exact]))
    sorted_bins[places[(places >= 0) & (places < grid.size)]] = True
    counts, at = _scan(prob, outside, sorted_bins, grid)
    counts = [count - grid.counts(side) for count, side in zip(counts, sides)]
    highest = np.logical_or.reduce(
        [np.cumsum(count[::-1])[::-1] <= MAX_GROUPS // 8 for count in counts])
    missed = highest & ~sorted_bins
    if missed.any():
        lowest = grid.low + (np.flatnonzero(missed)[:1] << grid.shift)
        # rounded, so it may exceed the lowest score of its bin by a little
        least = np.nextafter(key_scores(lowest)[0], np.float32(-1))
        top = np.flatnonzero(prob >= least)
        places = np.maximum(grid.places(score_keys(prob[top])), 0)
        at = np.concatenate([at, top[missed[places]]])
        sorted_bins |= missed
    at = at[~target[at]]
    apart = _regions(score_keys(prob[at]), outside, at)
    return [(count, sorted_bins, np.sort(keys))
            for count, keys in zip(counts, apart)]


def _scan(prob, outside, wanted, grid):
    """Count pixels by bins, and find those in bins that are wanted.

    Returns the counts of each region, and positions of pixels.
    """
    regions = 1 if outside is None else 2
    counts = np.zeros(regions * grid.size, dtype=np.int64)
    found = []
    # Counting a part takes as many operations as there are bins, too.
    several = max(_BLOCK, 4 * len(counts) // _BLOCK * _BLOCK)
    places = np.empty(min(several, prob.size), dtype=np.int64)
    for start in range(0, prob.size, several):
        part = places[:min(several, prob.size - start)]
        for block in cache_blocks(len(part)):
            pixels = slice(start + block.start,
                           start + min(block.stop, len(part)))
            keys = score_keys(prob[pixels])
            keys -= grid.low
            keys >>= grid.shift
            found.append(
                np.flatnonzero(wanted.take(keys, mode='clip')) + pixels.start)
            if outside is not None:
                keys += np.multiply(outside[pixels], grid.size, dtype=np.int32)
            part[block] = keys
        counts += np.bincount(part, minlength=len(counts))
    inside, *rest = counts.reshape(regions, -1)
    return [inside + sum(rest), inside][:regions], np.concatenate(found)


def _ranked(counts, sorted_bins, apart, grid):
    """``RankedScores.negatives`` and ``below`` of one region."""
    used = np.flatnonzero(counts > 0)
    counts = counts[used]
    whole = ~sorted_bins[used]
    # Every bin gets one place, or one for each of its keys.
    ends = np.cumsum(np.where(whole, 1, counts))
    total = ends[-1] if len(ends) else 0
    centres = ends[whole] - 1
    ranked = np.empty(total, dtype=np.int32)
    sizes = np.ones(total, dtype=np.int64)
    is_apart = np.ones(total, dtype=bool)
    is_apart[centres] = False
    ranked[centres] = (
        grid.low + (used[whole] << grid.shift) + (1 << grid.shift >> 1))
    ranked[is_apart] = apart
    sizes[centres] = counts[whole]
    return ranked, np.concatenate([[0], np.cumsum(sizes)])


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
