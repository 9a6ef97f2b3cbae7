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
from typing import NamedTuple

import numpy as np

from .bootstrap import Bootstrap

DRAWS = Bootstrap(10000)


class Difference(NamedTuple):
    """What two models give on so many images; NaN where undefined.

    ``difference`` is second minus first, ``low`` and ``high`` its interval,
    ``p_value`` two-sided and not corrected for several comparisons.
    """

    images: int
    first: float
    second: float
    difference: float = np.nan
    low: float = np.nan
    high: float = np.nan
    p_value: float = np.nan


def compare_means(first: Sequence[float],
                  second: Sequence[float],
                  bootstrap: Bootstrap = DRAWS) -> Difference:
    """Compare the means of a metric over images, given the models' values of
    each. Images of which either is NaN are left out.
    """
    values = np.array([first, second], np.float64).T
    values = values[~np.isnan(values).any(axis=1)]
    # with the number of images
    sums = np.stack([values, np.ones_like(values)], axis=-1)
    return compare_sums(sums, lambda s: s[..., 0] / s[..., 1], bootstrap)


def compare_sums(sums: np.ndarray,
                 metric: Callable[[np.ndarray], np.ndarray],
                 bootstrap: Bootstrap = DRAWS) -> Difference:
    """Compare metrics of sums over images, such as Dice of pooled counts.

    ``sums`` are what each image adds, (images, 2 models, ...); ``metric`` goes
    from sums (..., 2, ...) to the models' metrics (..., 2).
    """
    images = len(sums)
    if images == 0:
        return Difference(0, np.nan, np.nan)
    with np.errstate(invalid='ignore', divide='ignore'):
        first, second = map(float, metric(sums.sum(axis=0)))
        drawn = metric(np.tensordot(bootstrap.weights(images), sums, 1))
    draws = drawn[:, 1] - drawn[:, 0]
    draws = draws[~np.isnan(draws)]
    if len(draws) == 0 or np.isnan([first, second]).any():
        return Difference(images, first, second)
    # differences that only rounding makes are none
    draws[np.abs(draws) < 1e-12] = 0
    sides = np.count_nonzero(draws <= 0), np.count_nonzero(draws >= 0)
    share = (min(sides) + 1) / (len(draws) + 1)
    return Difference(images, first, second, second - first,
                      *bootstrap.interval(draws),
                      min(1.0, 2 * max(share, 0.5**images)))


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p values for several comparisons by Holm's method.

    NaN stay NaN and do not count as comparisons. scipy has no such correction.
    """
    values = np.array(p_values, dtype=np.float64)
    order = np.argsort(values)[:np.count_nonzero(~np.isnan(values))]
    steps = values[order] * np.arange(len(order), 0, -1)
    values[order] = np.maximum.accumulate(steps).clip(max=1)
    return values.tolist()
