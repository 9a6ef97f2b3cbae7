"""The painter, and that every tool shows a label map in the same colours."""
import cv2
import numpy as np
import pytest
from PIL import Image

from mbos.checkpoints.settings import settings_meta
from mbos.io.labels import save_labels
from mbos.painter import LEVELS, DrawnTask, draw_layer, draw_overlay
from mbos.pictures.document import css_colours
from mbos.pictures.overlay_picture import BACKGROUND, overlay_picture
from mbos.tasks import BUILTIN_TASKS, ODOC, OTHER_COLOURS, Task

ONE = Task('vessel', ('vessel', ), palette=((0, 100, 200), ))
TWO = Task('lesion', ('a', 'b'), palette=((250, 0, 0), (0, 250, 0)))
NESTED = Task(
    'odoc', ('disc', 'cup'), nested=True, palette=((0, 255, 0), (255, 0, 0)))


def square(size, start, stop, value):
    plane = np.zeros((size, size), np.uint8)
    plane[start:stop, start:stop] = value
    return plane


def overlay(labels, task, size=None):
    size = size or labels.shape[::-1]
    image = np.zeros((*size[::-1], 3), np.uint8)
    return draw_overlay(image, {task.name: labels}, [task])


def rgba(labels, task, size):
    return np.array(draw_layer(DrawnTask(labels, task), size).convert('RGBA'))


def test_areas_are_mixed_and_255_is_not_drawn():
    image = np.full((8, 8, 3), 50, np.uint8)
    labels = square(8, 2, 4, 1)
    labels[6] = 255
    picture = draw_overlay(image, dict(vessel=labels), [ONE], opacity=0.6)
    # 0.4 * 50 + 0.6 * (0, 100, 200)
    np.testing.assert_array_equal(picture[2, 2], [20, 80, 140])
    rest = labels != 1
    np.testing.assert_array_equal(picture[rest], image[rest])
    assert image.max() == 50, 'the photograph itself is left alone'
    layer = rgba(labels, ONE, (8, 8))
    # 0.7 in steps of 1 / LEVELS
    np.testing.assert_array_equal(
        layer[2, 2], [0, 100, 200, round(255 * 6 / LEVELS)])
    assert not layer[rest][:, 3].any()


def test_what_is_thinner_than_a_pixel_stays_visible():
    labels = np.zeros((80, 80), np.uint8)
    labels[:, 41] = 1  # 1 of 8 columns of a pixel
    share = 0.7 * 2.5 / 8
    picture, layer = (draw(labels, ONE, (10, 10)) for draw in (overlay, rgba))
    np.testing.assert_allclose(
        picture[:, 5], np.tile(share * np.array(ONE.colours), (10, 1)), atol=1)
    steps = round(share * LEVELS)
    assert (layer[:, 5, 3] == round(255 * steps / LEVELS)).all()
    for drawn in (picture, layer[..., 3]):
        assert not np.delete(drawn, 5, axis=1).any()


def test_exclusive_classes_have_their_colours_and_outlines():
    labels = square(40, 5, 15, 1) + square(40, 25, 35, 2)
    layer, picture = rgba(labels, TWO, (40, 40)), overlay(labels, TWO)
    for place, colour in ((10, [250, 0, 0]), (30, [0, 250, 0])):
        np.testing.assert_array_equal(layer[place, place, :3], colour)
        np.testing.assert_allclose(
            picture[place, place], 1.4 / 3 * np.array(colour), atol=1)
    assert layer[5, 10, 3] == 255 > layer[10, 10, 3], 'the outline is stronger'
    np.testing.assert_array_equal(picture[5, 10], [250, 0, 0])


def test_nested_classes_are_contours():
    labels = square(80, 10, 70, 1)
    labels[30:50, 30:50] = 2
    layer, picture = (
        draw(labels, NESTED, (40, 40)) for draw in (rgba, overlay))
    for drawn in (layer[..., 3], picture):
        assert not drawn[20, 20].any() and not drawn[11, 11].any(), 'no area'
    for row in (layer[20, :, :3] * (layer[20, :, 3:] / 255), picture[20]):
        red, green = (set(np.flatnonzero(row[:, i] > 200)) for i in (0, 1))
        # edges between 10 and 69 of 80 are between 5 and 34 of 40
        assert {4, 35} <= green <= {3, 4, 5, 6, 33, 34, 35, 36}
        assert {14, 25} <= red <= {13, 14, 15, 16, 23, 24, 25, 26}


def test_tasks_without_labels_or_palette():
    task = Task('spots', tuple(map(str, range(8))))
    assert task.colours == OTHER_COLOURS + OTHER_COLOURS[:2]
    assert task.part(['1', '7']).colours == 2 * OTHER_COLOURS[1:2]
    assert not draw_overlay(np.zeros((9, 9, 3), np.uint8), {}, [task]).any()
    picture = overlay(square(12, 3, 9, 2), task)
    np.testing.assert_array_equal(picture[3, 5], OTHER_COLOURS[1])


def test_picture_with_a_legend():
    tasks = list(BUILTIN_TASKS.values())

    def draw(height, width):
        image = np.full((height, width, 3), 100, np.uint8)
        return overlay_picture(image, {}, tasks, 'eye. Not a device')

    picture = draw(600, 900)
    assert picture.shape[1] == 900 and 600 < picture.shape[0] < 680
    assert (picture[:600] == 100).all(), 'nothing was found'
    assert (picture[605] == BACKGROUND).all()
    strip = picture[600:].reshape(-1, 3)
    for colour in (c for task in tasks for c in task.palette):
        assert (strip == colour).all(axis=1).any(), colour
    narrow = draw(100, 60)
    assert narrow.shape[1] == 640, 'wide enough for the legend'
    assert (narrow[50, 320] == 100).all() and (narrow[50, 5] == 18).any()
    for shape in ((1, 1), (3, 700)):
        labels = {t.name: np.ones(shape, np.uint8) for t in tasks}
        image = np.zeros((*shape, 3), np.uint8)
        assert overlay_picture(image, labels, tasks).ndim == 3


def test_all_tools_give_the_same_colours(tmp_path):
    labels = square(300, 60, 240, 1)
    labels[110:190, 110:190] = 2
    save_labels(tmp_path / 'labels.png', labels, ODOC)
    pictures = [
        overlay(labels, ODOC),
        rgba(labels, ODOC, (150, 150))[..., :3],
        Image.open(tmp_path / 'labels.png').convert('RGB'),
        overlay_picture(
            np.zeros((300, 300, 3), np.uint8), dict(odoc=labels), [ODOC])
    ]
    for picture in pictures:
        for colour in ODOC.colours:
            assert (np.asarray(picture) == colour).all(axis=-1).any()
    assert dict(css_colours(ODOC))['cup'] == 'rgb(190, 15, 85)'
    assert settings_meta([ODOC])['PALETTE'][1] == [190, 15, 85]


RETINA = ((190, 90, 40), (160, 70, 15), (110, 45, 15))
BRIGHT_DISC = ((250, 200, 120), (255, 215, 40), (240, 160, 90))


# what people see of linear RGB (Machado et al., 2009)
@pytest.mark.parametrize('sight', [
    np.eye(3),
    [[.152, 1.053, -.205], [.115, .786, .099], [-.004, -.048, 1.052]],
    [[.367, .861, -.228], [.280, .673, .047], [-.012, .043, .969]],
    [[1.256, -.077, -.179], [-.078, .931, .148], [.005, .691, .304]],
], ids=['all', 'no_red', 'no_green', 'no_blue'])  # yapf: disable
def test_builtin_colours_differ_for_every_eye(sight):

    def seen(colours):
        linear = (np.array(colours) / 255)**2.2 @ np.array(sight).T
        rgb = np.float32(linear.clip(0, 1)**(1 / 2.2))
        return cv2.cvtColor(rgb[None], cv2.COLOR_RGB2LAB)[0]

    def nearest(some, others):
        apart = seen(some)[:, None] - seen(others)
        return np.linalg.norm(apart, axis=-1).min()

    colours = [c for t in BUILTIN_TASKS.values() for c in t.colours]
    for i, colour in enumerate(colours):
        assert nearest([colour], colours[:i] + colours[i + 1:]) > 18
    assert nearest(colours[:-1], RETINA) > 28  # the cup lies on the disc
    assert nearest(ODOC.colours, BRIGHT_DISC) > 28
