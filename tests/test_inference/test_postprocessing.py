"""What prediction takes out of label maps."""
import cv2
import numpy as np
import pytest

from mbos.checkpoints.settings import Postprocessing, settings_from_meta
from mbos.inference.postprocessing import Postprocessor
from mbos.io.field_of_view import FieldOfView
from mbos.tasks import LESION, ODOC, VESSEL


def round_view(size=101, certain=True):
    """A disc that touches the four sides of a square."""
    y, x = np.mgrid[:size, :size] - size // 2
    mask = (np.hypot(x, y) <= size // 2).astype(np.uint8) * 255
    return FieldOfView((0, 0, size, size), mask, certain)


def full_view(size):
    return FieldOfView((0, 0, size, size), np.full((size, size), 255,
                                                   np.uint8), True)


def postprocess(task, labels, prob, view, rules):
    Postprocessor(view, rules)(task, labels, prob)


def test_nothing_is_the_default():
    labels = np.random.default_rng(0).integers(0, 3, (101, 101), np.uint8)
    before = labels.copy()
    postprocess(ODOC, labels, np.zeros((2, 101, 101), np.float32),
                round_view(), Postprocessing())
    np.testing.assert_array_equal(labels, before)


@pytest.mark.parametrize('rim, first', [(0, 0), (0.02, 3), (0.1, 11)])
def test_rim(rim, first):
    """Of 101 pixels: 0.02 takes 2.02, the pixel at a distance of 2 as well."""
    labels = np.ones((101, 101), np.uint8)
    prob = np.ones((1, 101, 101), np.float32)
    postprocess(VESSEL, labels, prob, round_view(), Postprocessing(rim=rim))
    assert labels[0, 0] == 0  # outside of the round
    across = np.flatnonzero(labels[50])
    assert across[0] == pytest.approx(first, abs=1)
    assert across[-1] == 100 - across[0]


def test_an_uncertain_view_has_no_rim():
    labels = np.ones((101, 101), np.uint8)
    postprocess(VESSEL, labels, np.ones((1, 101, 101), np.float32),
                round_view(certain=False), Postprocessing(rim=0.1))
    assert labels.all()


def test_the_most_probable_disc_with_its_cup():
    labels = np.zeros((40, 40), np.uint8)
    prob = np.zeros((2, 40, 40), np.float32)
    labels[2:12, 2:12] = 1  # 100 pixels
    prob[0, 2:12, 2:12] = 0.8
    labels[20:29, 20:29] = 1  # 81 pixels, more probable
    prob[0, 20:29, 20:29] = 0.9
    labels[35:39, 35:39] = 1  # 16 pixels: too few to be the disc
    prob[0, 35:39, 35:39] = 0.99
    labels[4:8, 4:8] = 2  # a cup in a disc that goes
    labels[22:25, 22:25] = 2  # 9 pixels
    labels[27, 27] = 2
    prob[1, 4:8, 4:8] = 1
    prob[1, 22:25, 22:25] = 0.6
    prob[1, 27, 27] = 0.9
    postprocess(ODOC, labels, prob, full_view(40),
                Postprocessing(one_object=['odoc']))
    assert not labels[:20].any() and not labels[30:].any()
    assert (labels > 0).sum() == 81 and labels[27, 27] == 1
    assert (labels == 2).sum() == 9 and (labels[22:25, 22:25] == 2).all()


def test_specks_by_class():
    labels = np.zeros((100, 100), np.uint8)
    labels[0, 0:3] = 1  # EX: 3 pixels
    labels[2, 3] = 1  # another part of 1
    labels[5, 0:3] = 4  # MA: 3 pixels
    labels[6, 3] = 4  # touches by its corner: 4 in all
    labels[9, 0] = 4
    rules = Postprocessing(specks=dict(lesion=dict(EX=2e-4, MA=4e-4)))
    postprocess(LESION, labels, None, full_view(100), rules)
    assert (labels == 1).sum() == 3 and (labels == 4).sum() == 4


def test_specks_of_nested_classes_leave_what_is_around_them():
    labels = np.ones((10, 10), np.uint8)
    labels[4, 4] = 2
    postprocess(ODOC, labels, None, full_view(10),
                Postprocessing(specks=dict(odoc=0.02)))
    assert (labels == 1).all()


@pytest.mark.parametrize('given, message', [
    (dict(rim=0.5), 'postprocessing.rim is 0.5'),
    (dict(rim='x'), "postprocessing.rim is 'x'"),
    (dict(specks=dict(lesion=dict(EX=-1))), 'specks.lesion is '),
])
def test_wrong_rules(given, message):
    with pytest.raises(ValueError, match=message):
        Postprocessing(**given)


def test_unknown_rules_of_a_checkpoint():
    pipeline = [
        dict(type='MultiScaleFlipAug', img_scale=[8, 8], transforms=[])
    ]
    stored = dict(pipeline=pipeline, postprocessing=dict(smooth=1))
    with pytest.raises(ValueError, match="no 'smooth': there are rim"):
        settings_from_meta(dict(mbos_prediction=stored))


@pytest.mark.parametrize('density', [0.1, 0.35, 0.6])
@pytest.mark.parametrize('smallest', [1, 2, 5, 30])
def test_specks_are_all_small_parts_and_no_others(density, smallest):
    """Also those in holes of others, and those whose boxes overlap."""
    labels = (np.random.default_rng(0).random((120, 140))
              < density).astype(np.uint8)
    _, parts, stats, _ = cv2.connectedComponentsWithStats(labels)
    kept = labels * (stats[:, cv2.CC_STAT_AREA] >= smallest)[parts]
    postprocess(VESSEL, labels, np.zeros((1, *labels.shape), np.float32),
                full_view(100),
                Postprocessing(specks=dict(vessel=(smallest - 0.5) / 1e4)))
    np.testing.assert_array_equal(labels, kept)
