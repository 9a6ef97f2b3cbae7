"""Intervals of metrics, by drawing the images of a test set again and again.

An image is drawn as a whole, because its pixels are not independent. A set of
draws is a matrix of weights: how often each image is in each draw; so every
metric of all draws is a product with sums per image. scipy.stats.bootstrap
draws for one metric at a time and knows no weights, which pooled rankings
need. These are of scores in some 1000 groups of bins, for the draws only.
"""
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from .scores import rank_histograms

GROUPS = 512
"""int: Groups of equal numbers of pixels, per side."""

_DRAWS_AT_A_TIME = 100
"""int: Bounds the memory of rankings."""


@dataclass(frozen=True)
class Bootstrap:
    """How intervals are made: how many draws, which share of them is inside,
    and their seed, by which the same images get the same draws in every run.
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
        """Percentiles of a metric over the draws that have a value; NaN where
        half of them have none.
        """
        defined = draws[~np.isnan(draws)]
        if 2 * len(defined) < len(draws) or len(defined) == 0:
            return float('nan'), float('nan')
        tail = (1 - self.level) / 2
        low, high = np.quantile(defined, (tail, 1 - tail))
        return float(low), float(high)


def resampled_rankings(images: Iterable[np.ndarray], scores: np.ndarray,
                       weights: np.ndarray) -> np.ndarray:
    """Pooled ROC AUC and average precision of every draw, (draws, R, C, 2),
    NaN where undefined.

    ``images`` are the scores of each image by bin, (2, R, C, bins), ``scores``
    those of all images together, ``weights`` of shape (draws, images).
    """
    starts = {
        (r, c): group_starts(scores[:, r, c])
        for r, c in np.ndindex(scores.shape[1:3])
    }
    grouped: dict[tuple, list] = {place: [] for place in starts}
    for counts in images:
        for (r, c), own in starts.items():
            grouped[r, c].append(np.add.reduceat(counts[:, r, c], own, -1))
    found = np.empty((len(weights), *scores.shape[1:3], 2))
    for (r, c), parts in grouped.items():
        for i in range(0, len(weights), _DRAWS_AT_A_TIME):
            rows = slice(i, i + _DRAWS_AT_A_TIME)
            drawn = np.tensordot(weights[rows], np.stack(parts), 1)
            found[rows, r, c] = rank_histograms(drawn[:, 0], drawn[:, 1])
    return found


def group_starts(scores: np.ndarray, groups: int = GROUPS) -> np.ndarray:
    """First bins of groups of neighbouring ones, none with many of the pixels.

    ``scores`` are positives and negatives by bin, (2, bins); there are at most
    twice as many groups as asked for.
    """
    starts = np.zeros(scores.shape[1] + 1, dtype=bool)
    starts[0] = True
    for side in scores:
        ranks = np.cumsum(side)
        steps = np.linspace(0, ranks[-1], groups + 1)[1:]
        starts[np.searchsorted(ranks, steps) + 1] = True
    return np.flatnonzero(starts[:-1])
