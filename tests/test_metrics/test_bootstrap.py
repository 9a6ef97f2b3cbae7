"""Intervals: against resampling by hand with scikit-learn."""
import numpy as np
import pytest
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score

from mbos.metrics.bootstrap import Bootstrap
from mbos.metrics.report import compute
from mbos.metrics.sums import update
from tests.test_metrics.test_sums import EXCLUSIVE, SINGLE, make_image


def test_weights_are_draws_with_replacement():
    weights = Bootstrap(resamples=2000).weights(5)
    assert weights.shape == (2000, 5)
    assert (weights.sum(axis=1) == 5).all()
    # each image is drawn once on average, with variance 1 - 1 / 5
    assert weights.mean(axis=0) == pytest.approx(1, abs=0.08)
    assert weights.var() == pytest.approx(0.8, abs=0.05)
    np.testing.assert_array_equal(weights, Bootstrap(2000).weights(5))
    assert (weights != Bootstrap(2000, seed=1).weights(5)).any()


def test_interval_by_hand():
    bootstrap = Bootstrap(resamples=101, level=0.9)
    assert bootstrap.interval(np.arange(101.)) == pytest.approx((5, 95))
    draws = np.arange(101.)
    draws[60:] = np.nan
    assert bootstrap.interval(draws) == pytest.approx((2.95, 56.05))
    draws[40:] = np.nan
    assert np.isnan(bootstrap.interval(draws)).all()
    with pytest.raises(ValueError, match='1 resample'):
        Bootstrap(0)


def test_intervals_are_those_of_drawing_images_again():
    images = [make_image(SINGLE, seed, shape=(20, 25)) for seed in range(6)]
    bootstrap = Bootstrap(resamples=40, level=0.5)
    found = compute([update(p, y, SINGLE) for p, y, _, _ in images],
                    SINGLE,
                    bootstrap=bootstrap)['intervals']
    draws = []
    for weights in bootstrap.weights(6):
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
    table = found['comparable']
    for key, expected in zip(('Dice@0.5', 'Dice-image', 'AUC-image'), ends):
        assert table[key]['crack'] == pytest.approx(expected, abs=1e-12), key
    assert found['published']['Dice']['crack'] == pytest.approx(ends[0])
    assert found['published']['AUC']['crack'] == pytest.approx(ends[2])
    # on the grid, and moved by what the grid changes
    for key, expected in zip(('AP', 'AUC-pooled'), ends[3:]):
        assert table[key]['crack'] == pytest.approx(expected, abs=2e-4), key


def test_undefined_where_a_class_never_occurs_or_one_image_is_all():
    prob, label, _, _ = make_image(EXCLUSIVE, 0)
    label[label == 3] = 0
    sums = [update(prob, label, EXCLUSIVE)] * 3
    found = compute(sums, EXCLUSIVE, bootstrap=Bootstrap(50))['intervals']
    assert np.isnan(found['comparable']['AP']['c']).all()
    assert not np.isnan(found['comparable']['AP']['a']).any()
    alone = compute(sums[:1], EXCLUSIVE, bootstrap=Bootstrap(50))
    ends = [
        end for row in alone['intervals']['comparable'].values()
        for pair in row.values() for end in pair
    ]
    assert np.isnan(ends).all()
