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

from .scores import rank_histograms, unpack_histograms

GROUPS = 512
"""int: Groups of equal numbers of pixels, per side."""

_DRAWS_AT_A_TIME = 100
"""int: Bounds the memory of rankings."""


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


def group_bins(scores: np.ndarray, groups: int = GROUPS) -> np.ndarray:
    """Join neighbouring bins so that no group holds many of the pixels.

    Args:
        scores: Positives and negatives of all images by bin, (2, bins).
        groups: At most twice as many are made.

    Returns:
        ndarray: The number of each bin's group, (bins, ).
    """
    ends = np.zeros(scores.shape[1] + 1, dtype=np.int64)
    for side in scores:
        ranks = np.cumsum(side)
        steps = np.linspace(0, ranks[-1], groups + 1)[1:]
        ends[np.searchsorted(ranks, steps) + 1] = 1
    return np.cumsum(ends)[:-1]


def resampled_rankings(packed: Iterable[np.ndarray], scores: np.ndarray,
                       weights: np.ndarray) -> np.ndarray:
    """Pooled ROC AUC and average precision of every draw.

    Args:
        packed: The scores of each image, of ``pack_histograms``.
        scores: Those of all images together, (2, R, C, bins).
        weights: Of shape (draws, images).

    Returns:
        ndarray: Of shape (draws, R, C, 2); NaN where undefined.
    """
    regions, classes, bins = scores.shape[1:]
    kinds = scores.reshape(2, -1, bins)
    own = [group_bins(kinds[:, i]) for i in range(kinds.shape[1])]
    ends = np.cumsum([groups[-1] + 1 for groups in own])
    group_of = np.concatenate(
        [groups + start for groups, start in zip(own, [0, *ends])])
    images = []
    for one in packed:
        places, counts = unpack_histograms(one)
        images.append([
            np.bincount(group_of[places], side, ends[-1]).astype(np.int32)
            for side in counts
        ])
    found = [[
        _rank(weights[i:i + _DRAWS_AT_A_TIME], part)
        for i in range(0, len(weights), _DRAWS_AT_A_TIME)
    ] for part in np.split(np.array(images), ends[:-1], axis=-1)]
    found = np.stack([np.concatenate(draws) for draws in found], axis=1)
    return found.reshape(-1, regions, classes, 2)


def _rank(weights, counts):
    return rank_histograms(
        *np.moveaxis(np.tensordot(weights, counts, 1), 1, 0))
