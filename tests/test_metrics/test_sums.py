"""Metrics worked by hand.

scikit-learn's numbers are in ``test_scores.py``, the release's in
``tests/test_golden.py``.
"""
import io
import pickle

import numpy as np
import pytest
from sklearn.metrics import f1_score

from mbos.metrics import tables
from mbos.metrics.sums import StoredSums, save_sums, update
from mbos.tasks import Task

SINGLE = Task('crack', ('crack', ))
EXCLUSIVE = Task('spot', ('a', 'b', 'c'))
NESTED = Task('shell', ('outer', 'inner'), nested=True)


def compute(sums, task, **options):
    """The report of a task, with the values alone in its tables."""
    found = tables.compute(sums, task, **options)
    for kind in ('published', 'comparable'):
        found[kind] = {
            key: {
                column: cell['value']
                for column, cell in row.items()
            }
            for key, row in found[kind].items()
        }
    return found


def make_image(task, seed, shape=(40, 50)):
    """Make probabilities that know something of the labels."""
    rng = np.random.default_rng(seed)
    label = rng.integers(0, task.num_classes + 1, shape).astype(np.uint8)
    values = np.arange(1, task.num_classes + 1).reshape(-1, 1, 1)
    target = label >= values if task.nested else label == values
    logit = rng.normal(size=target.shape) + 1.5 * target - 0.7
    prob = (1 / (1 + np.exp(-logit))).astype(np.float32)
    label[rng.random(shape) < 0.1] = 255
    return prob, label, target & (label != 255), label != 255


def test_single_class_by_hand():
    prob = np.float32([[[0.9, 0.8, 0.2], [0.5, 0.1, 0.7]]])
    label = np.uint8([[1, 0, 1], [0, 0, 255]])
    metrics = compute([update(prob, label, SINGLE)], SINGLE)
    published = metrics['published']
    # One true positive, one false positive, one false negative, two true
    # negatives: 0.5 does not exceed the threshold.
    assert published['IoU'] == pytest.approx(
        dict(background=2 / 4, crack=1 / 3, mean=5 / 12))
    assert published['Dice']['background'] == pytest.approx(4 / 6)
    assert published['Accuracy']['crack'] == pytest.approx(3 / 5)
    # 0.9 beats all three negatives, 0.2 only 0.1.
    assert published['AUC']['crack'] == pytest.approx(4 / 6)
    assert metrics['comparable']['AP']['crack'] == pytest.approx(
        (1 + 2 / 4) / 2)
    # Of 25, 51, 127, 204, 229 Otsu's threshold parts the last two: means 67.7
    # and 216.5, against 38 and 186.7 with three.
    assert published['Sensitivity@Otsu']['crack'] == pytest.approx(1 / 2)
    assert published['Specificity@Otsu']['crack'] == pytest.approx(2 / 3)
    assert published['PPV@Otsu']['crack'] == pytest.approx(1 / 2)


def test_undefined_lesions_are_left_out_of_the_mean():
    prob = np.zeros((3, 1, 4), np.float32)
    prob[0, 0, 0] = prob[1, 0, 3] = 0.9
    label = np.uint8([[1, 0, 0, 0]])
    metrics = compute([update(prob, label, EXCLUSIVE)], EXCLUSIVE)
    dice = metrics['published']['Dice']
    assert dice['a'] == 1 and dice['b'] == 0 and np.isnan(dice['c'])
    assert dice['mean'] == pytest.approx(1 / 2)
    assert metrics['published']['MAE']['b'] == pytest.approx(1 / 4)
    assert np.isnan(metrics['published']['AUC']['b'])
    image = metrics['comparable']['Dice-image']
    assert image['b'] == 0 and np.isnan(image['c'])
    assert image['mean'] == pytest.approx(1 / 2)


def test_area_under_eleven_points_by_hand():
    task = Task('two', ('a', 'b'))
    prob = np.float32([[[0.95, 0.55, 0.25, 0]], [[0, 0, 0, 0]]])
    label = np.uint8([[1, 0, 1, 0]])
    row = compute([update(prob, label, task)], task)['published']['AUPR']
    # Above 0, 0.1, 0.2: recall 1, precision 2/3; above 0.3 to 0.5: 1/2, 1/2;
    # above 0.6 to 0.9: 1/2, 1; above 1: 0, 1.
    assert row['a'] == pytest.approx(0.5 * (2 / 3 + 1 / 2) / 2 + 0.5)
    assert row['b'] == 0


def test_heights_of_nested_regions_by_hand():
    label = np.zeros((10, 10), np.uint8)
    label[1:9, 2:8] = 1
    label[3:5, 4:6] = 2
    prob = np.zeros((2, 10, 10), np.float32)
    prob[0, 1:9, 2:8] = 0.9
    prob[1, 3:7, 4:6] = 0.9
    # The inner region lies in the outer one, whatever the outer channel says.
    prob[0, 5, 5] = 0.1
    metrics = compute([update(prob, label, NESTED)], NESTED, names=['x'])
    assert metrics['comparable']['Ratio-error']['inner'] == pytest.approx(
        abs(4 / 8 - 2 / 8))
    assert metrics['comparable']['Dice-image']['outer'] == 1
    assert metrics['comparable']['Dice-image']['inner'] == pytest.approx(
        2 * 4 / (8 + 4))
    assert metrics['published']['Dice']['outer'] == pytest.approx(94 / 95)
    assert metrics['per_image'][0]['name'] == 'x'


def test_nested_image_without_outer_region_has_no_ratio():
    zeros = np.zeros((2, 4, 4), np.float32)
    sums = [
        update(zeros, np.full((4, 4), v, np.uint8), NESTED) for v in (0, 1, 2)
    ]
    rows = compute(sums, NESTED)['per_image']
    errors = [row['Ratio-error']['inner'] for row in rows]
    assert np.isnan(errors[0]) and errors[1:] == [0, 1]


@pytest.mark.parametrize(
    'task', [SINGLE, EXCLUSIVE, NESTED], ids=lambda task: task.name)
def test_ignored_pixels_change_nothing(task):
    prob, label, _, valid = make_image(task, 5)
    other = np.where(valid, prob, 1 - prob)
    first = compute([update(prob, label, task)], task)
    assert repr(compute([update(other, label, task)], task)) == repr(first)


def test_ignored_pixels_as_published():

    def table(task, ignore_index):
        prob = np.full((task.num_classes, 1, 4), 0.1, np.float32)
        prob[0] = [[0.9, 0.9, 0.1, 0.95]]
        label = np.uint8([[1, 0, 0, 255]])
        sums = [update(prob, label, task, ignore_index=ignore_index)]
        return compute(sums, task)['published']

    # Left out of the overlap, a negative in the ranking.
    assert table(SINGLE, None)['IoU']['crack'] == 1 / 2
    assert table(SINGLE, 255)['AUC']['crack'] == 3 / 4
    assert table(SINGLE, None)['AUC']['crack'] == 1 / 2
    # Background.
    assert table(EXCLUSIVE, 255)['IoU']['a'] == 1 / 2
    assert table(EXCLUSIVE, None)['IoU']['a'] == 1 / 3
    # Outermost region.
    assert table(NESTED, 255)['IoU']['outer'] == 1 / 2
    assert table(NESTED, None)['IoU']['outer'] == 2 / 3


def test_field_of_view_is_the_same_as_ignoring_the_rest():
    prob, label, _, _ = make_image(SINGLE, 6)
    fov = np.zeros(label.shape, bool)
    fov[5:30, 8:40] = True
    inside = np.where(fov, label, 255).astype(np.uint8)
    both = compute([update(prob, label, SINGLE, fov=fov)], SINGLE)
    alone = compute([update(prob, inside, SINGLE)], SINGLE)
    whole = compute([update(prob, label, SINGLE)], SINGLE)
    inside = {f'{k}-fov': row for k, row in alone['comparable'].items()}
    assert both['comparable'] == whole['comparable'] | inside
    assert both['published'] == whole['published']


def test_another_operating_point_leaves_the_published_one_alone():
    prob, label, target, valid = make_image(SINGLE, 7)
    usual = compute([update(prob, label, SINGLE)], SINGLE)
    moved = compute([update(prob, label, SINGLE, threshold=0.3)], SINGLE)
    assert moved['published'] == usual['published']
    assert moved['comparable']['Dice@0.3']['crack'] == pytest.approx(
        f1_score(target[0][valid], prob[0][valid] > 0.3))


PROB = np.full((1, 4, 4), 0.5, np.float32)
PLANE = np.zeros((4, 4), np.uint8)


@pytest.mark.parametrize('prob, label, fov, words', [
    (np.where(np.eye(4) > PROB, np.nan, PROB), PLANE, None, '0.5 to nan'),
    (PROB * 3, PLANE, None, '1.5 to 1.5'),
    (PROB, PLANE[1:], None, r'shape \(3, 4'),
    (PROB, PLANE, np.ones((2, 2), bool), 'field of view'),
    (PROB[[0, 0]], PLANE, None, '1 classes'),
])
def test_images_that_cannot_be_counted(prob, label, fov, words):
    with pytest.raises(ValueError, match=words):
        update(prob, label, SINGLE, fov)


def test_no_images():
    with pytest.raises(ValueError, match='crack.*no image'):
        compute([], SINGLE)


def test_damaged_and_hostile_files(tmp_path):
    """No pickle is carried out; anything but a whole archive is refused."""
    path, objects = tmp_path / 'a.npz', io.BytesIO()
    save_sums(str(path), dict(vessel=dict(counts=np.full(4, 1))))
    whole = path.read_bytes()
    place = whole.index(np.full(4, 1).tobytes())
    np.savez(objects, **{'vessel/x': np.array([object], dtype=object)})
    for content in (whole[:-1], whole[:place] + b'\x02' + whole[place + 1:],
                    objects.getvalue(), pickle.dumps(dict(a=1)), b''):
        path.write_bytes(content)
        with pytest.raises(ValueError, match='a.npz: no whole archive'):
            StoredSums([str(path)], 'vessel')[0]
