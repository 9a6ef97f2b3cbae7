import numpy as np
import pytest

from mbos.pictures.layers import (LEVELS, check_size, draw_layer, layer_size,
                                  legend_colours)
from mbos.tasks import Task

ONE = Task('vessel', ('vessel', ), palette=((0, 100, 200), ))
TWO = Task('lesion', ('a', 'b'), palette=((250, 0, 0), (0, 250, 0)))
NESTED = Task(
    'odoc', ('disc', 'cup'), nested=True, palette=((0, 255, 0), (255, 0, 0)))


def rgba(labels, task, size):
    return np.array(draw_layer(labels, task, size).convert('RGBA'))


@pytest.mark.parametrize('width, height, longest, expected', [
    (4288, 2848, 512, (512, 340)),
    (300, 600, 512, (256, 512)),
    (100, 80, 512, (100, 80)),
    (5000, 2, 512, (512, 1)),
])
def test_size(width, height, longest, expected):
    assert layer_size(width, height, longest) == expected


def test_areas_are_filled_and_255_is_not_drawn():
    labels = np.zeros((8, 8), np.uint8)
    labels[:4] = 1
    labels[6:] = 255
    layer = rgba(labels, ONE, (8, 8))
    np.testing.assert_array_equal(layer[0, 0], [0, 100, 200, 191])  # 6 / 8
    assert not layer[4:, :, 3].any()


def test_what_is_thinner_than_a_pixel_stays_visible():
    labels = np.zeros((80, 80), np.uint8)
    labels[:, 41] = 1  # 1 of 8 columns of a pixel
    layer = rgba(labels, ONE, (10, 10))
    # 0.75 * 2.5 / 8 of full opacity, in steps of 1 / LEVELS
    step = round(0.75 * 2.5 / 8 * LEVELS)
    assert (layer[:, 5, 3] == round(255 * step / LEVELS)).all()
    assert not np.delete(layer[..., 3], 5, axis=1).any()


def test_exclusive_classes_have_their_colours_and_outlines():
    labels = np.zeros((40, 40), np.uint8)
    labels[5:15, 5:15] = 1
    labels[25:35, 25:35] = 2
    layer = rgba(labels, TWO, (40, 40))
    np.testing.assert_array_equal(layer[10, 10], [250, 0, 0, 191])
    np.testing.assert_array_equal(layer[30, 30], [0, 250, 0, 191])
    assert layer[5, 10, 3] > 191, 'the outline is stronger'


def test_nested_classes_are_contours():
    labels = np.zeros((80, 80), np.uint8)
    labels[10:70, 10:70] = 1
    labels[30:50, 30:50] = 2
    layer = rgba(labels, NESTED, (40, 40))
    assert not layer[20, 20, 3] and not layer[10, 10, 3], 'nothing is filled'
    row = layer[20]
    green = [i for i in range(40) if row[i, 3] and row[i, 1] == 255]
    red = [i for i in range(40) if row[i, 3] and row[i, 0] == 255]
    # edges between 10 and 69 of 80 are between 5 and 34 of 40
    assert {min(green), max(green)} <= {4, 5, 34, 35}
    assert {min(red), max(red)} <= {14, 15, 24, 25}


def test_more_classes_than_a_palette_holds_share_colours():
    colours = tuple((i, 0, 0) for i in range(1, 41))
    task = Task('many', tuple(map(str, range(40))), palette=colours)
    assert legend_colours(task)[31] == colours[0]
    layer = rgba(np.full((4, 4), 32, np.uint8), task, (4, 4))
    np.testing.assert_array_equal(layer[1, 1, :3], colours[0])


def test_another_size_names_both_files():
    labels = np.zeros((4, 6), np.uint8)
    check_size(labels, 6, 4, 'a.png', 'a.jpg')
    with pytest.raises(ValueError, match=r'a\.png.*6.*4.*a\.jpg.*4.*6'):
        check_size(labels, 4, 6, 'a.png', 'a.jpg')
