"""Random images and scores: every metric is scikit-learn's."""
import numpy as np
import pytest
from sklearn.calibration import calibration_curve
from sklearn.metrics import (auc, average_precision_score, confusion_matrix,
                             f1_score, precision_recall_curve, roc_auc_score)

from mbos.metrics.scores import (EDGES, area_and_precision, best_threshold,
                                 calibration, curve_points, histogram,
                                 pack_histograms, rank_histograms, rank_scores,
                                 unpack_histograms)
from mbos.metrics.sums import update
from mbos.tasks import Task
from tests.test_metrics.test_sums import compute

TASKS = (Task('one', ('a', )), Task('two', ('a', 'b')),
         Task('nest', ('a', 'b'), nested=True))
SCORES = {
    'noise': lambda rng, shape: rng.random(shape),
    'ties': lambda rng, shape: rng.integers(0, 4, shape) / 4,
    'constant': lambda rng, shape: np.full(shape, rng.choice([0, 0.5, 1])),
    'tiny': lambda rng, shape: rng.random(shape) * 1e-6,
    'near one': lambda rng, shape: 1 - rng.random(shape) * 1e-6,
    'ends': lambda rng, shape: rng.random(shape).round(),
}
LABELS = {
    'mixed': lambda rng, shape, top: rng.integers(0, top + 1, shape),
    'background': lambda rng, shape, top: np.zeros(shape),
    'full': lambda rng, shape, top: np.full(shape, top),
    'rare': lambda rng, shape, top: (rng.random(shape) < 0.02) * top,
}


def draw(rng, task):
    """An image of random kind: probabilities, labels, targets, validity."""
    shape = tuple(rng.integers(1, 24, 2))
    prob = np.stack([
        SCORES[rng.choice(list(SCORES))](rng, shape)
        for _ in range(task.num_classes)
    ]).astype(np.float32)
    kind = LABELS[rng.choice(list(LABELS))]
    label = kind(rng, shape, task.num_classes).astype(np.uint8)
    label[rng.random(shape) < rng.choice([0, 0.3, 1], p=[0.5, 0.4, 0.1])] = 255
    values = np.arange(1, task.num_classes + 1).reshape(-1, 1, 1)
    target = (label >= values) & (label < 255) if task.nested \
        else label == values
    return prob, label, target, label != 255


def ranking(truth, score):
    """ROC AUC and average precision; NaN where docs say undefined."""
    positives = truth.sum()
    area = precision = np.nan
    if positives:
        precision = average_precision_score(truth, score)
    if 0 < positives < len(truth):
        area = roc_auc_score(truth, score)
    return area, precision


def rounded(score):
    """What scores of several images are taken for."""
    return EDGES[np.searchsorted(EDGES, score)]


def confusion(truth, score):
    if len(truth) == 0:
        return 0, 0, 0, 0
    (tn, fp), (fn, tp) = confusion_matrix(truth, score > 0.5, labels=[0, 1])
    return tp, fp, fn, tn


@pytest.mark.parametrize('seed', range(8))
@pytest.mark.parametrize('task', TASKS, ids=lambda task: task.name)
def test_all_figures(task, seed):
    rng = np.random.default_rng([seed, task.num_classes, task.nested])
    images = [draw(rng, task) for _ in range(6)]
    report = compute([update(p, y, task) for p, y, _, _ in images], task)
    table, rows = report['comparable'], report['per_image']
    for channel, name in enumerate(task.classes):

        def check(row, keys, expected):
            assert [row[key][name] for key in keys] == pytest.approx(
                expected, abs=1e-12, nan_ok=True), keys

        parts = [(t[channel][v], p[channel][v]) for p, _, t, v in images]
        for row, part in zip(rows, parts):
            check(row, ('AUC', 'AP'), ranking(*part))
            counts = row['counts']['0.5'][name]
            assert tuple(counts.values()) == confusion(*part)
        truth, score = map(np.concatenate, zip(*parts))
        check(table, ('AUC-pooled', 'AP'), ranking(truth, rounded(score)))
        for key in ('AUC', 'AP'):
            of_images = [row[key][name] for row in rows]
            if not np.isnan(of_images).all():
                check(table, [f'{key}-image'], [np.nanmean(of_images)])
        tp, fp, fn, tn = confusion(truth, score)
        for key, above, below in (
            ('Dice', 2 * tp, 2 * tp + fp + fn), ('IoU', tp, tp + fp + fn),
            ('Sensitivity', tp, tp + fn), ('Accuracy', tp + tn, len(truth)),
            ('Specificity', tn, tn + fp), ('Precision', tp, tp + fp)
        ):  # yapf: disable
            check(table, [key + '@0.5'], [above / below if below else np.nan])


SQUEEZED = {
    'spread': lambda u, y: 1 / (1 + np.exp(4 - 6 * u - 3 * y)),
    'below 1e-3': lambda u, y: 1e-3 * u**(1 - 0.5 * y),
    'above 0.999': lambda u, y: 1 - 1e-3 * u**(1 + 0.5 * y),
    'both ends': lambda u, y: 1 / (1 + np.exp(20 - 40 * (u + 0.1 * y))),
    'half precision': lambda u, y: np.float16(u**(2 - y)),
    'most are 1': lambda u, y: np.minimum(1, 2 * u**(2 - y)),
    'one float': lambda u, y: 0.3 + 1e-7 * (u + y),
    'zero and one': lambda u, y: (u + 0.2 * y > 0.5) * 1.0,
}


@pytest.mark.parametrize('name', SQUEEZED)
def test_scores_of_big_images(name):
    """Exact in an image and its parts; together, 11 bits change little."""
    rng = np.random.default_rng(0)
    truth = rng.random((400, 400)) < 0.02
    score = SQUEEZED[name](rng.random(truth.shape), truth).astype(np.float32)
    masks = [rng.random(truth.shape) < 0.7]
    masks.append(~masks[0])
    parts = [rank_scores(score, truth, mask) for mask in masks]
    exact = ranking(truth.ravel(), score.ravel())
    assert area_and_precision(parts) == pytest.approx(exact, abs=1e-12)
    assert area_and_precision(parts[:1]) == pytest.approx(
        ranking(truth[masks[0]], score[masks[0]]), abs=1e-12)
    counts = sum(histogram(part) for part in parts)
    assert counts.sum(axis=1).tolist() == [truth.sum(), (~truth).sum()]
    packed = pack_histograms(counts[:, None, None])
    assert packed.nbytes < 150_000
    assert (unpack_histograms(packed, 1)[:, 0, 0] == counts).all()
    found = rank_histograms(*counts)
    assert found == pytest.approx(
        ranking(truth.ravel(),
                rounded(score).ravel()), abs=1e-12)
    if name in ('spread', 'both ends', 'zero and one'):
        assert found == pytest.approx(exact, abs=5e-5)


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
