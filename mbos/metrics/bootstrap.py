"""Intervals of metrics, by drawing the images of a test set again and again.

An image is drawn as a whole, because its pixels are not independent. A set of
draws is a matrix of weights: how often each image is in each draw; so every
metric of all draws is a product with sums per image. scipy.stats.bootstrap
draws for one metric at a time and knows no weights, which pooled rankings
need.

Pooled rankings need the scores themselves. They are counted on a common grid,
some thousand intervals between which no pixel moves, for the draws only: the
value of the images as they are stays exact.
"""
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

import numpy as np

from .score_histogram import Histogram

GRID_INTERVALS = 1024
"""int: Intervals of equal numbers of pixels, per side."""

_DRAWS_AT_A_TIME = 100
_IMAGES_AT_A_TIME = 16
"""int: Bound the memory of rankings."""


@dataclass(frozen=True)
class Bootstrap:
    """How intervals are made.

    Attributes:
        resamples: Draws.
        level: Share of the draws inside the interval.
        seed: Of the draws: the same images get the same draws in every run.
    """

    resamples: int = 1000
    level: float = 0.95
    seed: int = 0

    def __post_init__(self):
        if self.resamples < 1 or not 0 < self.level < 1:
            raise ValueError(
                'Bootstrap needs at least 1 resample and a level between 0 '
                f'and 1, got {self.resamples} and {self.level}.')

    def weights(self, images: int) -> np.ndarray:
        """How often each image is in each draw, (resamples, images)."""
        rng = np.random.default_rng(self.seed)
        share = np.full(images, 1 / images)
        return rng.multinomial(images, share, self.resamples).astype(float)

    def interval(self, draws: np.ndarray) -> tuple[float, float]:
        """Percentiles of a metric over the draws, NaN where it is undefined.

        Draws without a value are left out; without a value in half of them the
        ends are NaN.
        """
        defined = draws[~np.isnan(draws)]
        if 2 * len(defined) < len(draws) or len(defined) == 0:
            return float('nan'), float('nan')
        tail = (1 - self.level) / 2
        low, high = np.quantile(defined, (tail, 1 - tail))
        return float(low), float(high)


class ScoreGrid(NamedTuple):
    """Intervals of scores, ascending.

    ``edges[i]`` is the highest mark of interval i, ``single[i]`` whether all
    of its pixels have the same score.
    """

    edges: np.ndarray
    single: np.ndarray


def common_grid(pooled: Histogram,
                intervals: int = GRID_INTERVALS) -> ScoreGrid:
    """Divide the scores of all images so that no interval holds many of them.

    There are at most four times ``intervals``: as many for positives and for
    negatives, and again in the top thousandth of both, which decides on
    precision.
    """
    last = np.zeros(len(pooled.marks), dtype=bool)
    for side in (pooled.positives, pooled.negatives):
        ranks = np.cumsum(side)
        total = int(ranks[-1]) if len(ranks) else 0
        for start in (0, total - total // 1000):
            steps = np.linspace(start, total, intervals + 1)[1:]
            place = np.searchsorted(ranks, steps)
            last[place[place < len(last)]] = True
    if len(last):
        last[-1] = True
    ends = np.flatnonzero(last)
    edges = pooled.marks[ends]
    alone = np.diff(ends, prepend=-1) == 1
    return ScoreGrid(edges, alone & (edges % 2 == 0))


def grid_counts(histogram: Histogram, grid: ScoreGrid) -> np.ndarray:
    """An image's positives and negatives in the grid, int32 (2, intervals)."""
    size = len(grid.edges)
    # A group may stand for scores a little above the highest mark of all.
    place = np.searchsorted(grid.edges, histogram.marks).clip(0, size - 1)
    return np.stack([
        np.bincount(place, side, size)
        for side in (histogram.positives, histogram.negatives)
    ]).astype(np.int32)


def resampled_ranking(counts: Iterable[np.ndarray], grid: ScoreGrid,
                      weights: np.ndarray) -> np.ndarray:
    """Pooled ROC AUC and average precision of every draw, (draws, 2).

    ``counts`` are those of :func:`grid_counts`, image by image, ``weights`` of
    shape (draws, images). Memory depends on the draws, not on the number of
    images. NaN where undefined.
    """
    drawn = np.zeros((len(weights), 2, len(grid.edges)))
    images = iter(counts)
    for start in range(0, weights.shape[1], _IMAGES_AT_A_TIME):
        some = np.stack(list(islice(images, _IMAGES_AT_A_TIME)))
        for draws in _chunks(len(weights)):
            # sums of whole numbers: exact in any order
            drawn[draws] += np.tensordot(
                weights[draws, start:start + len(some)], some, 1)
    return np.concatenate([
        _ranking(drawn[draws, 0], drawn[draws, 1], grid.single)
        for draws in _chunks(len(weights))
    ])


def _chunks(draws: int) -> list[slice]:
    return [
        slice(i, i + _DRAWS_AT_A_TIME)
        for i in range(0, draws, _DRAWS_AT_A_TIME)
    ]


def _ranking(positives, negatives, single):
    """Rank pixels that are counted on a grid, (draws, intervals) each."""
    num_pos, num_neg = positives.sum(1), negatives.sum(1)
    below = np.cumsum(negatives, 1) - negatives / 2
    above_pos = num_pos[:, None] - np.cumsum(positives, 1)
    true_pos = above_pos + np.where(single, positives, (positives + 1) / 2)
    false_pos = num_neg[:, None] - np.where(single, below - negatives / 2,
                                            below)
    with np.errstate(invalid='ignore', divide='ignore'):
        area = (positives * below).sum(1) / (num_pos * num_neg)
        precision = (
            positives * true_pos /
            np.where(positives > 0, true_pos + false_pos, 1))
        average = precision.sum(1) / num_pos
    return np.stack([area, average], axis=1)
