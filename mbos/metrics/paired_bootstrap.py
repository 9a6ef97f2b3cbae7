"""Whether two models differ, from metrics of the same images.

Images are drawn with replacement, both models' values of an image together,
because easy images are easy for both. The interval is that of the percentiles
of the difference. The p value is twice the share of the draws in which the
difference lies on the less likely side of 0; a draw of exactly 0 counts on
both sides, and one is added to both counts, so p is never 0 (Davison and
Hinkley, Bootstrap Methods and their Application, section 4.2). Nor is it below
2 / 2 ** n of n images, what n differences of one sign are worth: the draws of
a few images are too much alike to show more.
"""
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from .bootstrap import Bootstrap

DRAWS = Bootstrap(10000)
Metric = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Difference:
    """What two models give on the same images.

    Attributes:
        images: Images that both have a value for.
        first, second: The models' values; NaN without an image.
        difference: Second minus first.
        low, high: Interval of the difference.
        p_value: Two-sided, not corrected for several comparisons.
    """

    images: int
    first: float
    second: float
    difference: float
    low: float
    high: float
    p_value: float


def compare_means(first: Sequence[float],
                  second: Sequence[float],
                  bootstrap: Bootstrap = DRAWS) -> Difference:
    """Compare the means of a metric over images; all NaN without an image.

    ``first`` and ``second`` are the models' values of the same images. Images
    of which either is NaN are left out.
    """
    if len(first) != len(second):
        raise ValueError(
            'Expected as many values of the first model as of the second, got '
            f'{len(first)} and {len(second)}.')
    values = np.array([first, second], np.float64).T
    values = values[~np.isnan(values).any(axis=1)]
    # with the number of images
    sums = np.stack([values, np.ones_like(values)], axis=-1)
    return compare_sums(sums, lambda s: s[..., 0] / s[..., 1], bootstrap)


def compare_sums(sums: np.ndarray,
                 metric: Metric,
                 bootstrap: Bootstrap = DRAWS) -> Difference:
    """Compare metrics of sums over images, such as Dice of pooled counts.

    Args:
        sums: What each image adds, shape (images, 2 models, ...).
        metric: From sums (..., 2, ...) to the models' metrics (..., 2); NaN
            where undefined.
        bootstrap: How images are drawn.
    """
    images = len(sums)
    if images == 0:
        return Difference(0, *[np.nan] * 6)
    with np.errstate(invalid='ignore', divide='ignore'):
        first, second = map(float, metric(sums.sum(axis=0)))
        drawn = metric(np.tensordot(bootstrap.weights(images), sums, 1))
    draws = drawn[:, 1] - drawn[:, 0]
    draws = draws[~np.isnan(draws)]
    if len(draws) == 0 or np.isnan([first, second]).any():
        return Difference(images, first, second, *[np.nan] * 4)
    # differences that only rounding makes are none
    draws[np.abs(draws) < 1e-12] = 0
    sides = np.count_nonzero(draws <= 0), np.count_nonzero(draws >= 0)
    share = (min(sides) + 1) / (len(draws) + 1)
    return Difference(images, first, second, second - first,
                      *bootstrap.interval(draws),
                      min(1.0, 2 * max(share, 0.5**images)))


def holm(p_values: Sequence[float | None]) -> list[float]:
    """Correct p values for several comparisons by Holm's method.

    NaN stay NaN and do not count as comparisons. scipy has no such correction.
    """
    p_values = np.asarray(p_values, dtype=np.float64)
    order = [i for i in np.argsort(p_values) if not np.isnan(p_values[i])]
    corrected = np.full(len(p_values), np.nan)
    highest = 0.0
    for rank, index in enumerate(order):
        highest = max(highest, (len(order) - rank) * p_values[index])
        corrected[index] = min(1.0, highest)
    return corrected.tolist()
