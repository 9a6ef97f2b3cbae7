"""Label maps: against torch on maps of the photograph's size, and by rules."""
import cv2
import numpy as np
import pytest
import torch

from mbos.checkpoints.settings import Postprocessing
from mbos.inference.label_maps import ROWS, Postprocessor, TaskMaps
from mbos.io.field_of_view import FieldOfView
from mbos.io.geometry import make_geometry
from mbos.models.inference import mean_probabilities
from mbos.tasks import LESION, ODOC, VESSEL

BOXES = dict(inside=(40, 5, 201, 170), tall=(7, 0, 90, 190), whole=None)
CASES = [(VESSEL, 0.1), (VESSEL, 0.0), (LESION, 0.5),
         (LESION, dict(EX=0.3, HE=0.7, MA=0.2)), (LESION, 0.0),
         (ODOC, dict(disc=0.6, cup=0.4))]


def smooth_logits(task, side):
    """Blobs on a background that is far below any threshold."""
    rng = np.random.default_rng(0)
    coarse = np.float32(rng.normal(-3, 4, (task.num_classes, 6, 6)))
    logits = np.stack([cv2.resize(plane, (side, side)) for plane in coarse])
    logits[:, :, side // 2:] -= 20  # nothing there
    return torch.from_numpy(logits)


@pytest.mark.parametrize('box', BOXES)
@pytest.mark.parametrize('align_corners', [False, True])
@pytest.mark.parametrize('sides', [(48, ), (251, ), (48, 64)])
@pytest.mark.parametrize('task, threshold', CASES)
def test_as_whole_maps_by_torch(task, threshold, sides, align_corners, box):
    geometry = make_geometry('eye', (310, 190), BOXES[box])
    assert geometry.box_height > 2 * ROWS, 'several blocks'
    logits = [smooth_logits(task, side) for side in sides]
    x, y, width, height = geometry.box
    top, left = geometry.pad_top, geometry.pad_left
    padded = mean_probabilities(
        logits, (geometry.padded_height, geometry.padded_width), align_corners)
    inside = (..., slice(y, y + height), slice(x, x + width))
    prob = np.zeros((task.num_classes, 190, 310), np.float32)
    expected = np.uint8(0 * prob[0])
    crop = padded[:, top:top + height, left:left + width]
    prob[inside], expected[inside] = crop, task.decode(crop, threshold)
    arrays = [view.numpy() for view in logits]
    maps = TaskMaps(task, arrays, geometry, align_corners)
    labels, ours = maps.read(threshold, with_probabilities=True)
    np.testing.assert_allclose(ours, prob, atol=1e-5)
    assert np.mean(labels != expected) < 1e-3
    np.testing.assert_array_equal(maps.read(threshold)[0], labels)
    place = (task.num_classes - 1, slice(45, 170), slice(50, 90))
    np.testing.assert_array_equal(maps[place], ours[place])
    assert 0 < np.mean(labels > 0) <= 1


def postprocess(task, labels, prob=None, certain=True, mask=None, **rules):
    """Labels after rules, in a field of view that is everywhere."""
    mask = np.ones(labels.shape, np.uint8) if mask is None else mask
    view = FieldOfView((0, 0, *labels.shape[::-1]), mask, certain)
    labels = labels.copy()
    Postprocessor(view, Postprocessing(**rules))(task, labels, prob)
    return labels


@pytest.mark.parametrize('rim, first', [(0, 0), (0.02, 3), (0.1, 11)])
def test_rim(rim, first):
    """Of 101 pixels: 0.02 takes 2.02, the pixel at a distance of 2 as well."""
    y, x = np.mgrid[:101, :101] - 50
    mask = (np.hypot(x, y) <= 50).astype(np.uint8) * 255
    full = np.ones((101, 101), np.uint8)
    labels = postprocess(VESSEL, full, mask=mask, rim=rim)
    assert labels[0, 0] == 0  # outside of the round
    across = np.flatnonzero(labels[50])
    assert across[0] == pytest.approx(first, abs=1)
    assert across[-1] == 100 - across[0]
    # there is none without the rule, and in an uncertain field of view
    assert postprocess(VESSEL, full, mask=mask).all()
    assert postprocess(VESSEL, full, None, False, mask, rim=rim).all()


def test_the_most_probable_disc_with_its_cup():
    labels = np.zeros((40, 40), np.uint8)
    prob = np.zeros((2, 40, 40), np.float32)
    for value, start, stop, score in (
        (1, 2, 12, 0.8),  # 100 pixels
        (1, 20, 29, 0.9),  # 81 pixels, more probable
        (1, 35, 39, 0.99),  # 16 pixels: too few to be the disc
        (2, 4, 8, 1),  # a cup in a disc that goes
        (2, 22, 25, 0.6),  # 9 pixels
        (2, 27, 28, 0.9)):
        labels[start:stop, start:stop] = value
        prob[value - 1, start:stop, start:stop] = score
    labels = postprocess(ODOC, labels, prob, one_object=['odoc'])
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
    labels = postprocess(
        LESION, labels, specks=dict(lesion=dict(EX=2e-4, MA=4e-4)))
    assert (labels == 1).sum() == 3 and (labels == 4).sum() == 4
    # nested classes leave what is around them
    labels = np.ones((10, 10), np.uint8)
    labels[4, 4] = 2
    assert (postprocess(ODOC, labels, specks=dict(odoc=0.02)) == 1).all()


@pytest.mark.parametrize('density', [0.1, 0.35, 0.6])
@pytest.mark.parametrize('smallest', [1, 5, 30])
def test_specks_are_all_small_parts_and_no_others(density, smallest):
    """Also those in holes of others, and those whose boxes overlap."""
    labels = (np.random.default_rng(0).random((120, 140))
              < density).astype(np.uint8)
    _, parts, stats, _ = cv2.connectedComponentsWithStats(labels)
    kept = labels * (stats[:, cv2.CC_STAT_AREA] >= smallest)[parts]
    share = (smallest - 0.5) / labels.size
    np.testing.assert_array_equal(
        postprocess(VESSEL, labels, specks=dict(vessel=share)), kept)
