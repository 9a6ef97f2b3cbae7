"""Intervals and differences: by hand and by scikit-learn."""
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score

from mbos.metrics import bootstrap
from mbos.metrics.bootstrap import Bootstrap, holm
from mbos.metrics.sums import update
from mbos.metrics.tables import compute
from tests.test_metrics.test_sums import EXCLUSIVE, SINGLE, make_image


def test_weights_are_draws_with_replacement():
    weights = Bootstrap(resamples=2000).weights(5)
    assert weights.shape == (2000, 5) and (weights.sum(axis=1) == 5).all()
    # each image is drawn once on average, with variance 1 - 1 / 5
    assert weights.mean(axis=0) == pytest.approx(1, abs=0.08)
    assert weights.var() == pytest.approx(0.8, abs=0.05)
    assert (weights == Bootstrap(2000).weights(5)).all()
    assert (weights != Bootstrap(2000, seed=1).weights(5)).any()


def test_interval_by_hand():
    interval, draws = Bootstrap(
        resamples=101, level=0.9).interval, np.arange(101.)
    assert interval(draws) == pytest.approx((5, 95))
    draws[60:] = np.nan
    assert interval(draws) == pytest.approx((2.95, 56.05))
    draws[40:] = np.nan
    assert np.isnan(interval(draws)).all()
    with pytest.raises(ValueError, match='1 resample'):
        Bootstrap(0)


def test_intervals_are_those_of_drawing_images_again():
    images = [make_image(SINGLE, seed, shape=(20, 25)) for seed in range(6)]
    given, draws = Bootstrap(resamples=40, level=0.5), []
    sums = [update(p, y, SINGLE) for p, y, _, _ in images]
    found = compute(sums, SINGLE, bootstrap=given)
    for weights in given.weights(6):
        picked = [i for i, w in enumerate(weights) for _ in range(int(w))]
        valid = [images[i][3] for i in picked]
        score, truth = (
            np.concatenate([images[i][k][0][v] for i, v in zip(picked, valid)])
            for k in (0, 2))
        own = [images[i][2][0][v] for i, v in zip(picked, valid)]
        scores = [images[i][0][0][v] for i, v in zip(picked, valid)]
        draws.append([
            f1_score(truth, score > 0.5),
            np.mean([f1_score(t, s > 0.5) for t, s in zip(own, scores)]),
            np.mean([roc_auc_score(t, s) for t, s in zip(own, scores)]),
            average_precision_score(truth, score),
            roc_auc_score(truth, score)
        ])
    ends = np.quantile(draws, (0.25, 0.75), axis=0).T

    def interval(kind, key):
        cell = found[kind][key]['crack']
        return cell['low'], cell['high']

    for key, expected in zip(('Dice@0.5', 'Dice-image', 'AUC-image'), ends):
        assert interval('comparable', key) == pytest.approx(
            expected, abs=1e-12), key
    assert interval('published', 'Dice') == pytest.approx(ends[0])
    assert interval('published', 'AUC') == pytest.approx(ends[2])
    # on the grid, and moved by what the grid changes
    for key, expected in zip(('AP', 'AUC-pooled'), ends[3:]):
        assert interval('comparable', key) == pytest.approx(
            expected, abs=2e-4), key


def test_undefined_where_a_class_never_occurs_or_one_image_is_all():
    prob, label, _, _ = make_image(EXCLUSIVE, 0)
    label[label == 3] = 0
    sums = [update(prob, label, EXCLUSIVE)] * 3
    found = compute(sums, EXCLUSIVE, bootstrap=Bootstrap(50))
    assert np.isnan(found['comparable']['AP']['c']['low'])
    assert found['comparable']['AP']['a']['low'] > 0
    alone = compute(sums[:1], EXCLUSIVE, bootstrap=Bootstrap(50))
    assert all(
        np.isnan([cell['low'], cell['high']]).all()
        for row in alone['comparable'].values() for cell in row.values())


NAN = float('nan')


def compare_means(first, second, draws=Bootstrap(10000)):
    values = np.transpose([first, second])
    return SimpleNamespace(**bootstrap.compare_means(values, draws))


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


def test_holm_by_hand():
    assert holm([0.01, NAN, 0.04,
                 0.03]) == pytest.approx([0.03, NAN, 0.06, 0.06], nan_ok=True)
    assert holm([0.6, 0.5]) == [1, 1]
    assert holm([]) == []
