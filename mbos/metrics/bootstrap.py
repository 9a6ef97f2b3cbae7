"""Bootstrap over images: intervals of metrics, and whether two models differ.

An image is drawn as a whole, because its pixels are not independent. Draws are
a matrix of weights, how often each image is in each, so every metric of all
draws is a product with sums per image. scipy.stats.bootstrap knows no weights.
"""
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from .scores import rank_histograms

GROUPS = 512  # of bins, by numbers of pixels: most scores may be near 1


@dataclass(frozen=True)
class Bootstrap:
    """How intervals are made: how many draws, which share of them is inside,
    and their seed, by which the same images get the same draws again."""

    resamples: int = 1000
    level: float = 0.95
    seed: int = 0

    def __post_init__(self):
        if self.resamples < 1:
            raise ValueError('A bootstrap needs at least 1 resample, got '
                             f'{self.resamples}.')

    def weights(self, images: int) -> np.ndarray:
        """How often each image is in each draw, (resamples, images)."""
        rng, share = np.random.default_rng(self.seed), [1 / images] * images
        return rng.multinomial(images, share, self.resamples).astype(float)

    def interval(self, draws: np.ndarray) -> tuple[float, float]:
        """Percentiles of a metric over the draws that have a value; NaN where
        half of them have none."""
        defined, tail = draws[~np.isnan(draws)], (1 - self.level) / 2
        if 2 * len(defined) < len(draws) or len(defined) == 0:
            return np.nan, np.nan
        low, high = np.quantile(defined, (tail, 1 - tail)).tolist()
        return low, high


def pooled_rankings(scores: np.ndarray, images: Iterable[np.ndarray],
                    weights: np.ndarray) -> np.ndarray:
    """Pooled ROC AUC and average precision of every draw, (draws, R, C, 2),
    NaN where undefined; the first draw of ``weights``, (draws, images), is the
    test set as it is.

    ``scores`` are counts of all images by bin, (2, R, C, bins), ``images``
    those of each. Other draws are ranked by groups of bins, and moved by what
    these change for the whole set."""
    found = np.empty((len(weights), *scores.shape[1:3], 2))
    whole = found[0] = rank_histograms(*scores)
    if len(weights) == 1:
        return found
    starts = {
        place: _group_starts(scores[(slice(None), *place)])
        for place in np.ndindex(scores.shape[1:3])
    }
    grouped: dict[tuple, list] = {place: [] for place in starts}
    for counts in images:
        for (r, c), own in starts.items():
            grouped[r, c].append(np.add.reduceat(counts[:, r, c], own, -1))
    for (r, c), parts in grouped.items():
        for i in range(0, len(weights), 100):  # bounds the memory
            drawn = np.tensordot(weights[i:i + 100], np.stack(parts), 1)
            found[i:i + 100, r, c] = rank_histograms(drawn[:, 0], drawn[:, 1])
    found = (found + whole - found[0]).clip(0, 1)
    found[0] = whole
    return found


def _group_starts(scores: np.ndarray) -> np.ndarray:
    """First bins of groups, none with many of the pixels: at most twice as
    many as asked for. ``scores`` are positives and negatives, (2, bins)."""
    starts = np.zeros(scores.shape[1] + 1, dtype=bool)
    starts[0] = True
    for side in scores:
        ranks = np.cumsum(side)
        steps = np.linspace(0, ranks[-1], GROUPS + 1)[1:]
        starts[np.searchsorted(ranks, steps) + 1] = True
    return np.flatnonzero(starts[:-1])


DIFFERENCE = dict.fromkeys(
    ('first', 'second', 'difference', 'low', 'high', 'p_value'), np.nan)
"""What two models give: ``difference`` is second minus first, ``low`` and
``high`` its interval, ``p_value`` two-sided and not corrected for several
comparisons. NaN where undefined."""


def compare_means(values: np.ndarray, bootstrap: Bootstrap) -> dict:
    """As :func:`compare_sums`, the means of values (images, 2 models) that are
    not NaN for either."""
    values = values[~np.isnan(values).any(axis=1)]
    sums = np.stack([values, np.ones_like(values)], axis=-1)
    return compare_sums(sums, lambda s: s[..., 0] / s[..., 1], bootstrap)


def compare_sums(sums: np.ndarray, metric: Callable[[np.ndarray], np.ndarray],
                 bootstrap: Bootstrap) -> dict:
    """``DIFFERENCE`` and number of ``images`` of a metric of sums over images,
    such as Dice of pooled counts.

    ``sums`` are what each image adds, (images, 2 models, ...), and drawn
    together; ``metric`` goes from (..., 2, ...) to the metrics (..., 2).

    The p value is twice the share of the draws in which the difference lies on
    the less likely side of 0; a draw of exactly 0 counts on both sides, and
    one is added to both counts (Davison and Hinkley, Bootstrap Methods and
    their Application, section 4.2). It is at least 2 / 2 ** n of n images,
    what n differences of one sign are worth: draws of few images are alike."""
    images = len(sums)
    found = DIFFERENCE | dict(images=images)
    if images == 0:
        return found
    with np.errstate(invalid='ignore', divide='ignore'):
        first, second = metric(sums.sum(axis=0)).tolist()
        drawn = metric(np.tensordot(bootstrap.weights(images), sums, 1))
    found |= dict(first=first, second=second)
    draws = drawn[:, 1] - drawn[:, 0]
    draws = draws[~np.isnan(draws)]
    if len(draws) and not np.isnan([first, second]).any():
        # differences that only rounding makes are none
        draws[np.abs(draws) < 1e-12] = 0
        sides = np.count_nonzero(draws <= 0), np.count_nonzero(draws >= 0)
        share = (min(sides) + 1) / (len(draws) + 1)
        low, high = bootstrap.interval(draws)
        p_value = min(1.0, 2 * max(share, 0.5**images))
        found |= dict(
            difference=second - first, low=low, high=high, p_value=p_value)
    return found


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p values for several comparisons by Holm's method, which scipy
    lacks; NaN stay NaN and do not count as comparisons."""
    values = np.array(p_values, dtype=np.float64)
    order = np.argsort(values)[:np.count_nonzero(~np.isnan(values))]
    steps = values[order] * np.arange(len(order), 0, -1)
    values[order] = np.maximum.accumulate(steps).clip(max=1)
    return values.tolist()
