"""Measurements of label maps, worked out by hand."""
import math

import numpy as np
import pytest

from mbos.inference.measurements import columns, measure
from mbos.io.field_of_view import FieldOfView
from mbos.tasks import LESION, ODOC, VESSEL, Task

SIZE = 300
EVERYWHERE = np.ones((SIZE, SIZE), np.uint8)


def measured(task, labels, mask=EVERYWHERE, certain=True, image=None):
    view = FieldOfView((0, 0, SIZE, SIZE), mask, certain)
    return measure({task.name: labels}, [task], view, image)


def plane(*boxes):
    """Rectangles (value, top, bottom, left, right)."""
    labels = np.zeros((SIZE, SIZE), np.uint8)
    for value, top, bottom, left, right in boxes:
        labels[top:bottom, left:right] = value
    return labels


def ellipse(row, column, half_height, half_width):
    rows, cols = np.mgrid[:SIZE, :SIZE]
    return (((rows - row) / half_height)**2 + ((cols - column) / half_width)**2
            <= 1).astype(np.uint8)


def test_lesions_are_counted_and_weighed():
    labels = plane((1, 10, 20, 10, 20), (1, 50, 52, 50, 55), (4, 90, 91, 7, 8))
    labels[20, 20] = 1  # touches the first by a corner: the same part
    labels[21, 22] = 255  # ignored
    row = measured(LESION, labels)
    of_ex = 'EX', 2, 100 + 1 + 10
    for name, parts, area in of_ex, ('MA', 1, 1), ('HE', 0, 0):
        assert row[f'lesion.{name}.components'] == parts
        assert row[f'lesion.{name}.area_px'] == area
        assert row[f'lesion.{name}.area_share'] == area / 90000


def test_only_the_field_of_view_counts():
    view = plane((1, 0, SIZE, 30, 280))
    row = measured(VESSEL, plane((1, 100, 110, 20, 40)), view)
    expected = dict(components=1, area_px=100, density=100 / (SIZE * 250))
    expected = {f'vessel.{key}': value for key, value in expected.items()}
    expected['field_of_view.area_px'] = SIZE * 250
    assert row == expected | {'field_of_view.diameter_px': SIZE, 'flags': ''}


def test_disc_and_cup_of_known_ellipses():
    labels = ellipse(150, 220, 40, 30)
    labels[ellipse(155, 215, 24, 20) > 0] = 2
    row = measured(ODOC, labels)
    # rows 150 - 40 to 150 + 40
    for part, height, area in ('disc', 81, 40 * 30), ('cup', 49, 24 * 20):
        assert row[f'odoc.{part}.vertical_diameter_px'] == height
        expected = pytest.approx(math.pi * area, rel=0.01)
        assert row[f'odoc.{part}.area_px'] == expected
    assert row['odoc.cup_to_disc_vertical'] == 49 / 81
    assert row['odoc.disc.centre_x_px'] == pytest.approx(220, abs=1e-9)
    assert row['odoc.disc.centre_y_px'] == pytest.approx(150, abs=1e-9)
    assert row['disc_offset_share'] == pytest.approx((220 - 149.5) / SIZE)
    assert row['eye_side'] == 'right' and row['flags'] == ''
    # 125 is off the centre by 24.5 of 300 pixels, 115 by 34.5
    for column, side in (60, 'left'), (115, 'left'), (125, None):
        row = measured(ODOC, ellipse(150, column, 20, 20))
        assert row['eye_side'] == side


def test_the_largest_disc_counts_and_a_second_is_flagged():
    labels = plane((1, 100, 150, 40, 80), (1, 10, 30, 200, 220),
                   (1, 200, 210, 100, 105), (2, 110, 120, 50, 60),
                   (2, 15, 25, 205, 215))
    row = measured(ODOC, labels)
    assert row['odoc.disc.components'] == 3
    assert row['odoc.disc.area_px'] == 50 * 40
    assert row['odoc.cup.area_px'] == 100, "the other disc's cup is not here"
    assert row['odoc.cup_to_disc_vertical'] == 10 / 50
    assert row['flags'] == 'second_disc'  # 400 of 2000 pixels
    labels[10:30, 200:220] = 0
    assert measured(ODOC, labels)['flags'] == ''
    row = measured(ODOC, plane())
    assert row['flags'] == 'no_disc' and row['odoc.disc.area_px'] == 0
    assert row['odoc.disc.centre_x_px'] is row['eye_side'] is None
    assert row['odoc.cup_to_disc_vertical'] is None


@pytest.mark.parametrize('grey, colour, view, certain, flags', [
    (80, 20, EVERYWHERE, True, ''),
    (80, 0, EVERYWHERE, True, 'no_colour'),
    (10, 20, EVERYWHERE, True, 'mostly_dark'),
    (80, 20, np.pad(np.ones((200, 200)), 50), True, 'small_field_of_view'),
    (80, 20, 0 * EVERYWHERE, False, 'no_field_of_view small_field_of_view'),
])
def test_flags_of_the_photograph(grey, colour, view, certain, flags):
    image = np.full((SIZE, SIZE, 3), grey, np.uint8)
    image[..., 0] += np.uint8(colour)
    row = measured(VESSEL, plane(), view, certain, image)
    assert row['flags'] == flags


def test_any_tasks():
    """Classes and nesting of one's own, and no field of view at all."""
    layers = Task('layers', ('a', 'b', 'c'), nested=True)
    tasks = [layers, Task('spots', ('x', 'y'))]
    labels = dict(
        layers=plane((1, 100, 150, 40, 80), (2, 110, 140, 50, 60),
                     (3, 120, 125, 52, 56)),
        spots=plane((2, 1, 2, 1, 3)))
    row, empty = (
        measure(labels, tasks, FieldOfView((0, 0, SIZE, SIZE), mask))
        for mask in (EVERYWHERE, 0 * EVERYWHERE))
    assert row['layers.b_to_a_vertical'] == 30 / 50
    assert row['layers.c_to_a_vertical'] == 5 / 50
    assert row['layers.b.area_px'] == 300, 'the innermost class is part of it'
    assert row['spots.y.area_px'] == 2
    assert empty['spots.y.area_share'] is None
    assert list(row) == list(empty) == columns(tasks)
    assert list(row)[-1] == 'flags' and 'eye_side' not in row
