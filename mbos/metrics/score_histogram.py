"""Sparse histograms of scores, fine enough to rank with.

A histogram keeps every distinct positive score of an image (the scarce side)
as it is, and the negatives in between as groups of neighbours in bins of the
keys (``score_ranking``). So the metrics of one image are exact, and those
pooled over images are off by about 1e-6 at most: only negatives of *other*
images can be on the wrong side of a positive, within one of some 60,000 bins.

A group is stored as a *mark*: twice the key, plus 1 where the group stands
for several different scores.
"""
import zlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from .score_ranking import MAX_GROUPS, RankedScores

MAX_POOLED = 1 << 18
"""int: Marks of all images of a test set together, per class."""


class Histogram(NamedTuple):
    """Counts of positives and negatives, ascending by mark."""

    marks: np.ndarray
    positives: np.ndarray
    negatives: np.ndarray


def make_histogram(ranked: RankedScores,
                   max_groups: int = MAX_GROUPS) -> Histogram:
    """Group the scores of an image: 6 times ``max_groups`` marks at most."""
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
    """Add histograms, at least one, in any order."""
    return _merge([(h.marks, h.positives) for h in histograms],
                  [(h.marks, h.negatives) for h in histograms])


class HistogramPool:
    """Adds up any number of histograms within bounded memory.

    What it gives depends on the order of the images, by far less than 1e-6;
    so images are added in the order of their test set. ``most`` marks are
    kept; adding ``at_a_time`` histograms together saves time.
    """

    def __init__(self, most: int = MAX_POOLED, at_a_time: int = 4):
        self.most, self.at_a_time = most, at_a_time
        self._waiting = []

    @property
    def is_empty(self) -> bool:
        """bool: Whether nothing was added."""
        return not self._waiting

    def add(self, histogram: Histogram) -> None:
        """Add the scores of an image."""
        self._waiting.append(histogram)
        if len(self._waiting) > self.at_a_time:
            self._waiting = [self.total()]

    def total(self) -> Histogram:
        """Get the sum so far."""
        return coarsen(pool_histograms(self._waiting), self.most)


def coarsen(histogram: Histogram, most: int) -> Histogram:
    """Join neighbours until about ``most`` marks are left.

    The highest quarter of ``most`` stay as they are, as they weigh most in
    average precision.
    """
    marks = histogram.marks
    if len(marks) <= most:
        return histogram
    differ = marks[1:] ^ marks[:-1]
    shift = 1
    while np.count_nonzero(differ >= (1 << shift)) >= most // 2:
        shift += 1
    is_first = np.append(True, differ >= (1 << shift))
    is_first[len(marks) - most // 4:] = True
    starts = np.flatnonzero(is_first)
    ends = np.append(starts[1:], len(marks))
    first, last = marks[starts], marks[ends - 1]
    several = first < last
    centre = (first >> shift << shift) + (1 << (shift - 1)) | 1
    # The last group may be cut off by the highest marks.
    centre = centre.clip(first | 1, (last - 1) | 1)
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
