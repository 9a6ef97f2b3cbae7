"""Putting logits back, against torch on maps of the photograph's size."""
import numpy as np
import pytest
import torch

from mbos.inference.label_maps import ROWS, TaskMaps
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
    coarse = torch.from_numpy(rng.normal(-3, 4, (1, task.num_classes, 6, 6)))
    logits = torch.nn.functional.interpolate(
        coarse.float(), size=(side, side), mode='bilinear')[0]
    logits[:, :, side // 2:] -= 20  # nothing there
    return logits


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
    expected = np.zeros((190, 310), np.uint8)
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


def test_a_single_pixel_is_found():
    """At the last column and row of a map, and nowhere else."""
    geometry = make_geometry('eye', (160, 160))
    logits = np.full((1, 16, 16), -9, np.float32)
    assert not TaskMaps(VESSEL, [logits], geometry, False).read(0.5)[0].any()
    logits[0, -1, -1] = 9
    labels = TaskMaps(VESSEL, [logits], geometry, False).read(0.5)[0]
    rows, columns = np.nonzero(labels)
    assert rows.min() == columns.min() == 150
    assert rows.max() == columns.max() == 159
