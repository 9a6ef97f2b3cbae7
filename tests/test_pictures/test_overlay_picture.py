"""The picture that is made to be looked at."""
import numpy as np
import pytest

from mbos.pictures.overlay_picture import BACKGROUND, overlay_picture
from mbos.tasks import BUILTIN_TASKS

TASKS = list(BUILTIN_TASKS.values())


def draw(height, width):
    image = np.full((height, width, 3), 100, np.uint8)
    return overlay_picture(image, {}, TASKS, 'eye. Not a device')


def test_size_and_strip():
    picture = draw(600, 900)
    assert picture.shape[1] == 900 and 600 < picture.shape[0] < 680
    assert (picture[:600] == 100).all(), 'nothing was found'
    assert (picture[605] == BACKGROUND).all()
    strip = picture[600:].reshape(-1, 3)
    for task in TASKS:  # every colour is explained
        for colour in task.palette:
            assert (strip == colour).all(axis=1).any(), colour
    narrow = draw(100, 60)
    assert narrow.shape[1] == 640, 'wide enough for the legend'
    assert (narrow[50, 320] == 100).all() and (narrow[50, 5] == 18).any()


@pytest.mark.parametrize('shape', [(1, 1), (3, 700)])
def test_tiny_photographs(shape):
    labels = {t.name: np.ones(shape, np.uint8) for t in TASKS}
    image = np.zeros((*shape, 3), np.uint8)
    assert overlay_picture(image, labels, TASKS).ndim == 3
