"""Differences of two models: by hand, by scipy, under no difference."""
import numpy as np
import pytest
from scipy import stats

from mbos.metrics import bootstrap
from mbos.metrics.bootstrap import Bootstrap, compare_sums, holm

NAN = float('nan')


def compare_means(first, second, draws=Bootstrap(10000)):
    return bootstrap.compare_means(np.transpose([first, second]), draws)


@pytest.mark.parametrize('images, shift, p_value', [
    (4, 0, 1),
    (30, 0.1, 2 / 10001),
    (30, -0.1, 2 / 10001),
    (8, 0.1, 2 / 2**8),
    (1, 0.1, 1),
])
def test_constant_shift(images, shift, p_value):
    """Certain, but no more than so many images of one sign can tell."""
    first = np.linspace(0.2, 0.6, images)
    found = compare_means(first, first + shift)
    assert found.images == images
    assert found.first == pytest.approx(first.mean())
    assert (found.difference, found.low, found.high,
            found.p_value) == pytest.approx((shift, shift, shift, p_value))


def test_two_images_by_hand():
    """Differences +1 and -0.5: draws give 1, 0.25, 0.25 or -0.5."""
    found = compare_means([0, 0.5], [1, 0])
    assert (found.first, found.second) == (0.25, 0.5)
    assert (found.low, found.high) == (-0.5, 1)
    assert found.p_value == pytest.approx(2 / 4, abs=0.03)


def test_undefined_images_are_left_out():
    found = compare_means([0.5, NAN, 0.1, 0.3], [0.7, 0.2, NAN, 0.3])
    assert found.images == 2
    assert (found.first, found.second) == pytest.approx((0.4, 0.5))
    nothing = compare_means([NAN], [0.5])
    assert nothing.images == 0 and np.isnan(nothing.p_value)


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


def test_ratios_of_sums():
    """1/2 and 3/4 over both images."""
    sums = np.array([[[1, 2], [1, 2]], [[1, 2], [2, 2]]], float)
    found = compare_sums(sums, lambda s: s[..., 0] / s[..., 1],
                         Bootstrap(10000))
    assert (found.first, found.second) == (0.5, 0.75)
    # the first image twice gives 0, the second one twice 1/2
    assert (found.low, found.high) == (0, 0.5)


def test_holm_by_hand():
    assert holm([0.01, NAN, 0.04,
                 0.03]) == pytest.approx([0.03, NAN, 0.06, 0.06], nan_ok=True)
    assert holm([0.6, 0.5]) == [1, 1]
    assert holm([]) == []
