import numpy as np

from mbos.pictures.overlays import draw_overlay
from mbos.tasks import Task

VESSEL = Task('vessel', ('vessel', ), palette=((0, 100, 200), ))
ODOC = Task(
    'odoc', ('disc', 'cup'), nested=True, palette=((0, 255, 0), (255, 0, 0)))


def square(size, start, stop, value):
    plane = np.zeros((size, size), np.uint8)
    plane[start:stop, start:stop] = value
    return plane


def test_filled_class_is_mixed_and_255_is_not_drawn():
    image = np.full((8, 8, 3), 50, np.uint8)
    labels = square(8, 2, 4, 1)
    labels[6] = 255
    picture = draw_overlay(image, dict(vessel=labels), [VESSEL], opacity=0.6)
    # 0.4 * 50 + 0.6 * (0, 100, 200)
    np.testing.assert_array_equal(picture[2, 2], [20, 80, 140])
    rest = labels != 1
    np.testing.assert_array_equal(picture[rest], image[rest])
    assert image.max() == 50, 'the photograph itself is left alone'


def test_nested_classes_are_contours():
    labels = square(20, 2, 18, 1)
    labels[6:14, 6:14] = 2
    picture = draw_overlay(
        np.zeros((20, 20, 3), np.uint8), dict(odoc=labels), [ODOC])
    np.testing.assert_array_equal(picture[2, 10], [0, 255, 0])  # disc's edge
    np.testing.assert_array_equal(picture[6, 10], [255, 0, 0])  # cup's edge
    assert not picture[10, 10].any() and not picture[4, 4].any()


def test_tasks_without_labels_or_palette():
    task = Task('spots', ('a', 'b'))
    image = np.zeros((12, 12, 3), np.uint8)
    assert not draw_overlay(image, {}, [task]).any()
    picture = draw_overlay(image, dict(spots=square(12, 3, 9, 2)), [task])
    assert picture[6, 6].any() and not picture[0, 0].any()
