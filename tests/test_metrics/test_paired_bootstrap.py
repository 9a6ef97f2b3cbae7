import math

import numpy as np
import pytest
from scipy import stats

from mbos.metrics.bootstrap import Bootstrap
from mbos.metrics.paired_bootstrap import (Difference, compare_means,
                                           compare_sums, holm)

DRAWS = 10000


def test_identical_figures_do_not_differ():
    values = [0.1, 0.7, 0.35, 0.2]
    assert compare_means(values, values, Bootstrap(DRAWS)) == Difference(
        4, pytest.approx(0.3375), pytest.approx(0.3375), 0, 0, 0, 1)


def test_constant_shift_differs_for_certain():
    first = np.linspace(0.2, 0.6, 30)
    found = compare_means(first, first + 0.1, Bootstrap(DRAWS))
    assert found.difference == pytest.approx(0.1)
    assert (found.low, found.high) == pytest.approx((0.1, 0.1))
    assert found.p_value == pytest.approx(2 / (DRAWS + 1))
    back = compare_means(first + 0.1, first, Bootstrap(DRAWS))
    assert back.difference == pytest.approx(-0.1)
    assert back.p_value == found.p_value


@pytest.mark.parametrize('images', [1, 2, 4, 8])
def test_few_images_cannot_tell_much(images):
    first = np.linspace(0.2, 0.6, images)
    found = compare_means(first, first + 0.1, Bootstrap(DRAWS))
    assert found.p_value == 2 / 2**images


def test_two_images_by_hand():
    """Differences +1 and -0.5: draws give 1, 0.25, 0.25 or -0.5."""
    found = compare_means([0, 0.5], [1, 0], Bootstrap(DRAWS))
    assert (found.first, found.second) == (0.25, 0.5)
    assert (found.low, found.high) == (-0.5, 1)
    assert found.p_value == pytest.approx(2 / 4, abs=0.03)


def test_undefined_images_are_left_out():
    nan = float('nan')
    found = compare_means([0.5, nan, 0.1, 0.3], [0.7, 0.2, nan, 0.3])
    assert found.images == 2
    assert (found.first, found.second) == pytest.approx((0.4, 0.5))
    nothing = compare_means([nan], [0.5])
    assert nothing.images == 0 and math.isnan(nothing.p_value)


def test_interval_is_scipys():
    rng = np.random.default_rng(1)
    first = rng.random(25)
    second = first + rng.normal(0.02, 0.1, 25)
    found = compare_means(first, second, Bootstrap(20000))
    scipys = stats.bootstrap((second - first, ),
                             np.mean,
                             n_resamples=20000,
                             method='percentile',
                             random_state=0).confidence_interval
    assert (found.low, found.high) == pytest.approx(scipys, abs=0.002)
    again = compare_means(first, second, Bootstrap(20000))
    assert again == found, 'the draws are seeded'


def test_p_values_of_no_difference_are_uniform():
    """Of 200 pairs without a difference about 5 % have p < 0.05."""
    rng = np.random.default_rng(0)
    low = sum(
        compare_means(*rng.normal(
            size=(2, 40)), Bootstrap(500, seed=seed)).p_value < 0.05
        for seed in range(200))
    assert 3 <= low <= 22


def test_figures_of_sums():
    """Ratios of sums: 1/2 and 3/4 over both images."""
    sums = np.array([[[1, 2], [1, 2]], [[1, 2], [2, 2]]], float)
    found = compare_sums(sums, lambda s: s[..., 0] / s[..., 1])
    assert (found.first, found.second) == (0.5, 0.75)
    # the first image twice gives 0, the second one twice 1/2
    assert (found.low, found.high) == (0, 0.5)
    assert found.p_value == pytest.approx(2 / 4, abs=0.03)


def test_holm_by_hand():
    nan = float('nan')
    assert holm([0.01, nan, 0.04,
                 0.03]) == pytest.approx([0.03, nan, 0.06, 0.06], nan_ok=True)
    assert holm([0.6, 0.5]) == [1, 1]
    assert holm([]) == []


def test_different_numbers_of_images():
    with pytest.raises(ValueError, match='3.*2'):
        compare_means([1, 2, 3], [1, 2])
