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


@pytest.mark.parametrize('shape', [(1, 1, 3), (3, 700, 3)])
def test_tiny_photographs(shape):
    image = np.zeros(shape, np.uint8)
    labels = {t.name: np.ones(shape[:2], np.uint8) for t in TASKS}
    assert overlay_picture(image, labels, TASKS).ndim == 3
