"""Whether two models differ, from figures of the same images.

Images are drawn with replacement, both models' figures of an image together,
because easy images are easy for both. The interval is that of the percentiles
of the difference. The p value is twice the share of the draws in which the
difference lies on the less likely side of 0; a draw of exactly 0 counts on
both sides, and one is added to both counts, so p is never 0 (Davison and
Hinkley, Bootstrap Methods and their Application, section 4.2). Nor is it below
2 / 2 ** n of n images, what n differences of one sign are worth: the draws of
a few images are too much alike to tell more.
"""
from dataclasses import dataclass
from typing import Callable, List, Optional, Sequence

import numpy as np


@dataclass(frozen=True)
class Difference:
    """What two models give on the same images.

    Attributes:
        images (int): Images that both figures are of.
        first (float): Figure of the first model; NaN without an image.
        second (float): Figure of the second one.
        difference (float): Second minus first.
        low (float): Lower end of the interval of the difference.
        high (float): Its upper end.
        p_value (float): Two-sided, not corrected for several comparisons.
    """

    images: int
    first: float
    second: float
    difference: float
    low: float
    high: float
    p_value: float


def draw_weights(images: int, resamples: int, seed: int) -> np.ndarray:
    """Draw images with replacement.

    Returns:
        ndarray: How often each image is drawn, float64 of shape (resamples,
        images).
    """
    rng = np.random.default_rng(seed)
    share = np.full(images, 1 / images)
    return rng.multinomial(images, share, resamples).astype(np.float64)


def compare_means(first: Sequence[float],
                  second: Sequence[float],
                  resamples: int = 10000,
                  seed: int = 0,
                  level: float = 0.95) -> Difference:
    """Compare the means of a figure over images.

    Args:
        first (Sequence[float]): Figures of the first model, one per image.
        second (Sequence[float]): Of the second model, of the same images.
            Images of which either is NaN are left out.
        resamples (int): Draws. Default: 10000.
        seed (int): Of the draws. Default: 0.
        level (float): Share of the draws in the interval. Default: 0.95.

    Returns:
        Difference: All NaN without an image.
    """
    first, second = (np.asarray(v, dtype=np.float64) for v in (first, second))
    if first.shape != second.shape or first.ndim != 1:
        raise ValueError('Expected as many figures of the first model as of '
                         f'the second, got shapes {first.shape} and '
                         f'{second.shape}.')
    both = ~(np.isnan(first) | np.isnan(second))
    first, second = first[both], second[both]
    sums = np.stack([first, second, np.ones(len(first))], axis=1)
    return compare_sums(sums, lambda s: s[..., 0] / s[..., 2],
                        lambda s: s[..., 1] / s[..., 2], resamples, seed,
                        level)


def compare_sums(sums: np.ndarray,
                 first: Callable[[np.ndarray], np.ndarray],
                 second: Callable[[np.ndarray], np.ndarray],
                 resamples: int = 10000,
                 seed: int = 0,
                 level: float = 0.95) -> Difference:
    """Compare figures of sums over images, such as Dice of pooled counts.

    Args:
        sums (ndarray): What each image adds, shape (images, S).
        first (Callable): From sums (..., S) to the first model's figure
            (...); NaN where undefined.
        second (Callable): The same for the second model.
        resamples (int): Draws. Default: 10000.
        seed (int): Of the draws. Default: 0.
        level (float): Share of the draws in the interval. Default: 0.95.

    Returns:
        Difference: NaN where nothing is defined.
    """
    nan = float('nan')
    if len(sums) == 0:
        return Difference(0, nan, nan, nan, nan, nan, nan)
    with np.errstate(invalid='ignore', divide='ignore'):
        total = sums.sum(axis=0)
        values = float(first(total)), float(second(total))
        drawn = draw_weights(len(sums), resamples, seed) @ sums
        draws = second(drawn) - first(drawn)
    draws = _without_rounding(draws[~np.isnan(draws)])
    if len(draws) == 0 or np.isnan(values).any():
        return Difference(len(sums), *values, nan, nan, nan, nan)
    tail = (1 - level) / 2
    low, high = np.quantile(draws, (tail, 1 - tail))
    return Difference(
        len(sums), *values, values[1] - values[0], float(low), float(high),
        _p_value(draws, len(sums)))


def _without_rounding(draws: np.ndarray) -> np.ndarray:
    """Take differences that only rounding makes for none."""
    return np.where(np.abs(draws) < 1e-12, 0, draws)


def _p_value(draws: np.ndarray, images: int) -> float:
    sides = np.count_nonzero(draws <= 0), np.count_nonzero(draws >= 0)
    share = (min(sides) + 1) / (len(draws) + 1)
    return min(1.0, 2 * max(share, 0.5**images))


def holm(p_values: Sequence[Optional[float]]) -> List[float]:
    """Correct p values for several comparisons, by Holm's method.

    Args:
        p_values (Sequence[float]): Of the comparisons; those that are NaN are
            none.

    Returns:
        list[float]: Corrected values, in the same order.
    """
    p_values = np.asarray(p_values, dtype=np.float64)
    order = [i for i in np.argsort(p_values) if not np.isnan(p_values[i])]
    corrected = np.full(len(p_values), np.nan)
    highest = 0.0
    for rank, index in enumerate(order):
        highest = max(highest, (len(order) - rank) * p_values[index])
        corrected[index] = min(1.0, highest)
    return corrected.tolist()
