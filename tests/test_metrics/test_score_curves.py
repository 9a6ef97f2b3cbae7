"""Curves, calibration, thresholds: by hand and by scikit-learn."""
import numpy as np
import pytest
from sklearn.calibration import calibration_curve
from sklearn.metrics import (auc, f1_score, precision_recall_curve,
                             roc_auc_score)

from mbos.metrics.scores import (best_threshold, calibration, curve_points,
                                 histogram, rank_scores)


def histogram_of(score, truth):
    return histogram(rank_scores(np.float32(score), np.array(truth, bool)))


def sample(seed, count=5000, rate=0.1):
    rng = np.random.default_rng(seed)
    truth = rng.random(count) < rate
    logit = rng.normal(-2, 1.5, count) + 2 * truth
    return (1 / (1 + np.exp(-logit))).astype(np.float32), truth


def test_best_threshold_by_hand():
    threshold, dice = best_threshold(
        *histogram_of([0.1, 0.3, 0.3, 0.6, 0.8], [0, 0, 1, 1, 1]))
    # above 0.1: 3 of 4 found are right; above 0.3: 2 of 2, 1 is missed
    assert dice == pytest.approx(6 / 7)
    assert np.float32(0.1) <= threshold < 0.3
    for score, truth in (([0.1, 0.9], [0, 0]), ([0., 0.], [1, 1])):
        assert best_threshold(*histogram_of(score, truth)) == (0.5, None)


@pytest.mark.parametrize('squeeze', [1, 1e-4])
def test_best_threshold_is_the_best_of_all(squeeze):
    score, truth = sample(0)
    score = (score * squeeze).astype(np.float32)
    threshold, best = best_threshold(*histogram_of(score, truth))
    limits = np.unique(np.concatenate([[0], score]))[:-1]
    # thresholds have 11 bits
    assert best >= max(f1_score(truth, score > t) for t in limits[::40]) - 1e-3
    found = f1_score(truth, score > np.float32(threshold))
    assert found == pytest.approx(best, abs=1e-12)


def test_curve_points_lie_on_the_curve_and_keep_its_area():
    score, truth = sample(1, 100_000)
    points = curve_points(*histogram_of(score, truth))
    assert 100 < len(points['threshold']) <= 500
    assert points['positives'] == truth.sum()
    for i in (0, 40, -2):
        above = score > points['threshold'][i]
        assert points['recall'][i] == pytest.approx(truth[above].sum() /
                                                    truth.sum())
        assert points['precision'][i] == pytest.approx(truth[above].mean())
    assert points['recall'][-1] == points['false_positive_rate'][-1] == 1
    assert np.diff(points['threshold']).max() < 0
    area = auc([0] + points['false_positive_rate'], [0] + points['recall'])
    assert area == pytest.approx(roc_auc_score(truth, score), abs=1e-4)
    precision, recall, _ = precision_recall_curve(truth, score)
    assert auc(points['recall'], points['precision']) == pytest.approx(
        auc(recall, precision), abs=2e-3)


def test_curve_without_a_side():
    points = curve_points(*histogram_of([0.2, 0.4], [0, 0]))
    assert points['recall'] == [] and points['negatives'] == 2
    points = curve_points(*histogram_of([0.2, 0.4], [1, 1]))
    assert points['precision'] == [1, 1]
    assert np.isnan(points['false_positive_rate']).all()


def test_calibration_is_that_of_scikit_learn():
    score, truth = sample(2)
    bins = calibration(*histogram_of(score, truth))
    share, mean = calibration_curve(truth, score, n_bins=20)
    used = [i for i, count in enumerate(bins['count']) if count]
    assert sum(bins['count']) == 5000
    found = [bins['positives'][i] / bins['count'][i] for i in used]
    assert found == pytest.approx(share, abs=1e-12)
    assert [bins['mean_score'][i] for i in used] == pytest.approx(
        mean, rel=2**-12)
    assert calibration(*histogram_of([1.], [1]))['count'][-1] == 1
