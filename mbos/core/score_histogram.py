"""Sparse histograms of scores, fine enough to rank with.

A probability becomes an integer *key* that keeps the order of all float32
numbers in [0, 1] exactly and is as fine next to 1 as next to 0: the bit
pattern of p up to one half, mirrored with that of 1 - p above. So scores that
a saturated sigmoid squeezes below 1e-3 or above 0.999 stay apart.

A histogram keeps every distinct positive score of an image (the scarce side)
as it is, and the negatives in between as groups of neighbours in bins of the
keys. So the figures of one image are exact, and those pooled over images are
off by less than 1e-6: only negatives of *other* images can be on the wrong
side of a positive, within one of some 60,000 bins.

A group is stored as a *mark*: twice the key, plus 1 where the group stands
for several different scores.
"""
import zlib
from typing import Dict, NamedTuple, Optional, Sequence, Tuple

import numpy as np
import torch

MAX_GROUPS = 1 << 16
"""int: Bins per image, class and side (positive or negative)."""

MAX_POOLED = 1 << 20
"""int: Marks of all images of a test set together, per class."""

_HALF = int(np.float32(0.5).view(np.int32))

_TABLE_BITS = 21
"""int: Bins of the table that replaces sorting, as a number of bits."""

_SAMPLE = 2048
"""int: Pixels looked at to choose the width of bins."""

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


class Histogram(NamedTuple):
    """Counts of positives and negatives, ascending by mark."""

    marks: np.ndarray
    positives: np.ndarray
    negatives: np.ndarray


def score_keys(prob: np.ndarray) -> np.ndarray:
    """Map probabilities to integers of the same order.

    Args:
        prob (np.ndarray): Probabilities in [0, 1], any shape.

    Returns:
        np.ndarray: Keys of the same shape, dtype int32, equal where and only
        where the float32 probabilities are equal.
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
    valid: Optional[np.ndarray] = None,
    thresholds: Sequence[float] = ()
) -> RankedScores:
    """Sort the keys of the valid positive and negative pixels.

    Args:
        keys (np.ndarray): Keys of shape (H, W).
        target (np.ndarray): Boolean target of shape (H, W).
        valid (np.ndarray, optional): Boolean mask of the pixels that count;
            None counts all. Default: None.
        thresholds (Sequence[float]): Further thresholds at which counts must
            be exact. Default: ().

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
    grid = _choose_grid(negatives)
    if grid is None:
        negatives = _sort(negatives)
        return RankedScores(positives, negatives,
                            np.arange(len(negatives) + 1))
    return RankedScores(positives, *_rank_on_grid(negatives, exact, *grid))


def _choose_grid(keys):
    """Find bins narrow enough for the scores that most pixels have.

    Returns None where sorting is cheaper, or needed because the scores lie
    close together; otherwise the lowest key and the bits of a key in a bin.
    """
    if len(keys) <= 4 * MAX_GROUPS:
        return None
    sample = np.sort(keys[::len(keys) // _SAMPLE])
    gaps = np.diff(sample)
    low, high = int(keys.min()), int(keys.max())
    shift = max(0, (high - low).bit_length() - _TABLE_BITS)
    share = len(keys) // len(sample)
    # Pixels between two of the sample fill as many bins as there are, or as
    # they are themselves.
    while np.minimum(gaps >> (shift + 1), share).sum() > MAX_GROUPS:
        shift += 1
    if np.minimum(gaps >> shift, share).sum() < MAX_GROUPS // 2:
        return None
    # Aligned, so that every bin lies within one group of `make_histogram`.
    return low >> shift << shift, shift


def _rank_on_grid(keys, exact, low, shift):
    """Count keys by bins, and sort those in bins where ranks matter.

    Args:
        keys (np.ndarray): Of negatives, in any order.
        exact (np.ndarray): Keys whose bins are to be sorted.
        low (int): The lowest key.
        shift (int): Bits of a key inside a bin.

    Returns:
        tuple[np.ndarray, np.ndarray]: As ``RankedScores.negatives`` and
        ``below``.
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
    """Count the confusion of ``p > threshold`` at each threshold.

    Args:
        ranked (RankedScores): Scores of one image.
        thresholds (Sequence[float]): Thresholds in [0, 1], taken as float32.

    Returns:
        np.ndarray: True positives, false positives, false negatives and true
        negatives: int64 array of shape (thresholds, 4).
    """
    keys = score_keys(np.float32(thresholds))
    positives, negatives, below = ranked
    false_neg = np.searchsorted(positives, keys, side='right')
    true_neg = below[np.searchsorted(negatives, keys, side='right')]
    true_pos, false_pos = len(positives) - false_neg, below[-1] - true_neg
    counts = np.stack([true_pos, false_pos, false_neg, true_neg], axis=-1)
    return counts.astype(np.int64)


def area_and_precision(ranked: RankedScores) -> Tuple[float, float]:
    """Compute exact ROC AUC and average precision of one image.

    Returns:
        tuple[float, float]: Area under the ROC curve, NaN without positives
        or without negatives, and average precision, NaN without positives.
        Equal scores are ties, as in scikit-learn.
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


def make_histogram(ranked: RankedScores,
                   max_groups: int = MAX_GROUPS) -> Histogram:
    """Group the scores of one image.

    Args:
        ranked (RankedScores): Scores of one image.
        max_groups (int): Bins per side. Default: 65536.

    Returns:
        Histogram: At most six times ``max_groups`` marks.
    """
    positives, negatives, below = ranked
    sides = (positives, negatives)
    # One bin width for both sides: in a group of either, the other's is met
    # half way.
    shift = max(_bin_width(side, max_groups) for side in sides)
    top = max(_highest(side, max_groups // 8) for side in sides)
    tops = [np.searchsorted(side, top, side='right') for side in sides]
    cuts = np.flatnonzero(np.diff(positives)) + 1
    if len(cuts) >= max_groups:
        cuts = cuts[cuts >= tops[0]]
    pos = _group(positives, shift, cuts)
    exact = pos[0][pos[0] % 2 == 0] // 2
    neg = _group(
        negatives, shift,
        np.concatenate([
            np.searchsorted(negatives, exact, side='left'),
            np.searchsorted(negatives, exact, side='right'),
            np.flatnonzero(np.diff(negatives[tops[1]:])) + tops[1] + 1
        ]))
    marks, edges = neg
    return _merge([(pos[0], np.diff(pos[1]))],
                  [(marks, np.diff(below[edges]))])


def _highest(keys, count):
    """Find the key that only the ``count`` highest ones exceed.

    The first ranks weigh most in average precision, so they stay exact.
    """
    return keys[-count - 1] if 0 < count < len(keys) else -1


def _bin_width(keys, max_groups):
    """Find the finest bins, as a number of bits, of which few are in use."""
    # The highest bit in which neighbours differ says at which bin width they
    # fall apart.
    differ = keys[1:] ^ keys[:-1]
    low, shift = 0, 31
    while low < shift:
        middle = (low + shift) // 2
        if np.count_nonzero(differ >= (1 << middle)) < max_groups:
            shift = middle
        else:
            low = middle + 1
    return shift


def _group(keys, shift, cuts):
    """Join sorted keys that share a bin and lie between the same cuts.

    Returns the marks of the groups and the edges between them.
    """
    if len(keys) == 0:
        return np.zeros(0, np.int64), np.zeros(1, np.int64)
    is_cut = np.zeros(len(keys) + 1, dtype=bool)
    is_cut[cuts] = True
    is_edge = is_cut.copy()
    is_edge[1:-1] |= (keys[1:] ^ keys[:-1]) >= (1 << shift)
    is_edge[[0, -1]] = True
    edges = np.flatnonzero(is_edge)
    starts, ends = edges[:-1], edges[1:]
    first = keys[starts].astype(np.int64)
    last = keys[ends - 1].astype(np.int64)
    centre = 2 * (first >> shift << shift) + (1 << shift) - 1
    # Part of a bin stays between the scores that cut it off.
    near_cut = is_cut[starts] | is_cut[ends]
    inside = np.clip(centre, 2 * first + 1, 2 * last - 1)
    marks = np.where(near_cut, inside, centre)
    return np.where(first == last, 2 * first, marks), edges


def _merge(positives, negatives):
    """Add up (marks, counts) pairs of both sides into one histogram."""
    marks = np.concatenate([m for m, _ in positives + negatives])
    # Every part is sorted already, which this kind of sort makes use of.
    order = np.argsort(marks, kind='stable')
    marks = marks[order]
    starts = np.flatnonzero(np.diff(marks, prepend=-1))
    split = sum(len(m) for m, _ in positives)

    def add(counts, pairs, first):
        for (_, part) in pairs:
            counts[first:first + len(part)] = part
            first += len(part)
        return np.add.reduceat(counts[order], starts)

    zeros = np.zeros(len(marks), dtype=np.int64)
    if len(marks) == 0:
        return Histogram(zeros, zeros, zeros)
    return Histogram(marks[starts], add(zeros.copy(), positives, 0),
                     add(zeros.copy(), negatives, split))


def pool_histograms(histograms: Sequence[Histogram]) -> Histogram:
    """Add histograms of several images or of several processes.

    The result does not depend on the order or on the grouping.

    Args:
        histograms (Sequence[Histogram]): At least one.
    """
    return _merge([(h.marks, h.positives) for h in histograms],
                  [(h.marks, h.negatives) for h in histograms])


class HistogramPool:
    """Adds up any number of histograms within bounded memory.

    What it gives depends on the order of the images, by far less than 1e-6;
    so images are added in the order of their test set.

    Args:
        most (int): Marks kept. Default: 2 ** 20.
        at_a_time (int): Histograms added together, which saves time.
            Default: 8.
    """

    def __init__(self, most: int = MAX_POOLED, at_a_time: int = 8):
        self.most, self.at_a_time = most, at_a_time
        self._waiting = []

    def add(self, histogram: Histogram) -> None:
        """Add the scores of an image."""
        self._waiting.append(histogram)
        if len(self._waiting) > self.at_a_time:
            self._waiting = [self.total()]

    def total(self) -> Histogram:
        """Get the sum so far."""
        return coarsen(pool_histograms(self._waiting), self.most)


def coarsen(histogram: Histogram, most: int) -> Histogram:
    """Join neighbours until few enough marks are left.

    Args:
        histogram (Histogram): Any.
        most (int): Marks wanted at most.

    Returns:
        Histogram: The highest quarter of ``most`` stay as they are, as they
        weigh most in average precision.
    """
    marks = histogram.marks
    if len(marks) <= most:
        return histogram
    differ = marks[1:] ^ marks[:-1]
    shift = 1
    while np.count_nonzero(differ >= (1 << shift)) >= most // 2:
        shift += 1
    is_first = np.append(True, differ >= (1 << shift))
    # From the first whole group on.
    top = len(marks) - most // 4
    top += int(is_first[top:].argmax()) if is_first[top:].any() else most // 4
    is_first[top:] = True
    starts = np.flatnonzero(is_first)
    several = np.diff(starts, append=len(marks)) > 1
    first = marks[starts]
    centre = (first >> shift << shift) + (1 << (shift - 1)) | 1
    return Histogram(
        np.where(several, centre, first),
        np.add.reduceat(histogram.positives, starts),
        np.add.reduceat(histogram.negatives, starts))


def pack_histogram(histogram: Histogram) -> np.ndarray:
    """Make a histogram small to keep: some 2 bytes per mark."""
    marks = np.diff(histogram.marks, prepend=0)
    columns = np.stack([marks, histogram.positives, histogram.negatives])
    # Bytes of equal weight side by side; the high ones are 0 and left out.
    planes = columns.astype('<u4').view(np.uint8).reshape(3, -1, 4)
    planes = np.ascontiguousarray(planes.transpose(0, 2, 1)).reshape(12, -1)
    used = planes.any(axis=1)
    # Runs are all that can be found in such bytes; it saves a third of the
    # time.
    packer = zlib.compressobj(1, zlib.DEFLATED, 15, 9, zlib.Z_RLE)
    body = packer.compress(used.tobytes() + planes[used].tobytes())
    return np.frombuffer(body + packer.flush(), dtype=np.uint8)


def unpack_histogram(packed: np.ndarray) -> Histogram:
    """Undo :func:`pack_histogram`."""
    data = np.frombuffer(zlib.decompress(packed.tobytes()), dtype=np.uint8)
    used, data = data[:12].astype(bool), data[12:]
    if not used.any():
        return Histogram(*np.zeros((3, 0), dtype=np.int64))
    size = len(data) // used.sum()
    planes = np.zeros((12, size), dtype=np.uint8)
    planes[used] = data.reshape(-1, size)
    columns = planes.reshape(3, 4, size).transpose(0, 2, 1)
    columns = np.ascontiguousarray(columns).view('<u4')[..., 0]
    columns = columns.astype(np.int64)
    return Histogram(np.cumsum(columns[0]), columns[1], columns[2])
