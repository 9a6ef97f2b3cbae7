"""The picture that is made to be looked at."""
import numpy as np
import pytest

from mbos.pictures.overlay_picture import BACKGROUND, overlay_picture
from mbos.tasks import BUILTIN_TASKS

TASKS = list(BUILTIN_TASKS.values())
GREY = 100


def draw(height=1200, width=1800, longest=900, **labels):
    image = np.full((height, width, 3), GREY, np.uint8)
    return overlay_picture(image, labels, TASKS, longest, 'eye. Not a device')


def plane(*boxes, shape=(1200, 1800)):
    labels = np.zeros(shape, np.uint8)
    for value, (rows, columns) in enumerate(boxes, 1):
        labels[rows[0]:rows[1], columns[0]:columns[1]] = value
    return labels


def change(picture, row, column):
    return np.abs(picture[row, column].astype(int) - GREY).max()


def test_size_and_strip():
    picture = draw()
    assert picture.shape[1] == 900 and 600 < picture.shape[0] < 680
    assert (picture[:600] == GREY).all(), 'nothing was found'
    assert (picture[605] == BACKGROUND).all()
    strip = picture[600:].reshape(-1, 3)
    for task in TASKS:  # every colour is explained
        for colour in task.palette:
            assert (strip == colour).all(axis=1).any(), colour
    full = draw(longest=0)
    assert full.shape[1] == 1800
    narrow = draw(height=100, width=60)
    assert narrow.shape[1] == 640, 'wide enough for the legend'
    assert (narrow[50, 320] == GREY).all() and (narrow[50, 5] == 18).any()


def test_thin_vessels_stay_visible():
    """A line of one pixel, half as wide in the picture."""
    picture = draw(vessel=plane(((0, 1200), (900, 901))))
    assert change(picture, 300, 450) > 40
    assert change(picture, 300, 440) == 0


def test_lesions_are_translucent_and_outlined():
    picture = draw(lesion=plane(((400, 600), (400, 800))))
    inside, edge = change(picture, 250, 300), change(picture, 200, 300)
    assert 20 < inside < 80 and edge > 110


def test_disc_and_cup_are_outlines():
    labels = plane(((300, 900), (300, 1000)), ((500, 700), (500, 800)))
    picture = draw(odoc=labels)
    assert change(picture, 200, 400) == 0, 'the rim'
    assert change(picture, 300, 320) == 0, 'the cup'
    colours = dict(zip(('disc', 'cup'), BUILTIN_TASKS['odoc'].palette))
    assert np.abs(picture[300, 150].astype(int) - colours['disc']).max() < 30
    assert np.abs(picture[300, 250].astype(int) - colours['cup']).max() < 30


@pytest.mark.parametrize('shape', [(1, 1, 3), (3, 700, 3)])
def test_tiny_photographs(shape):
    image = np.zeros(shape, np.uint8)
    labels = {t.name: np.ones(shape[:2], np.uint8) for t in TASKS}
    assert overlay_picture(image, labels, TASKS).ndim == 3
