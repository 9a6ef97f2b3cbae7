"""Field of view, padding and its inverse."""
import cv2
import numpy as np
import pytest
from raw_trees import BOX, CENTRE, RADIUS, SIZE, photograph

from mbos.io.field_of_view import find_field_of_view
from mbos.io.geometry import make_geometry

EYE = photograph((600, 600), (300, 300), 276)


def within_one_percent(box, true):
    corners = [
        np.add((x, y, x, y), (0, 0, w, h)) for x, y, w, h in (true, box)
    ]
    return np.abs(np.subtract(*corners)).max() <= max(2, 0.01 * max(true[2:]))


def square(centre, radius):
    """The box of a disc."""
    side = 2 * radius + 1
    return centre[0] - radius, centre[1] - radius, side, side


def test_published_box_is_the_disc_and_two_pixels_of_dilation():
    fov = find_field_of_view(photograph())
    assert fov.box == BOX and fov.certain
    rows, columns = np.mgrid[:SIZE[1], :SIZE[0]]
    disc = np.hypot(columns - CENTRE[0], rows - CENTRE[1]) <= RADIUS
    assert np.count_nonzero(fov.mask != disc) < 0.01 * disc.sum()


def with_text(image):
    cv2.putText(image, 'OD 2.7', (5, 30), 0, 1.0, (255, 255, 255), 2)


def with_dark_side(image):
    # The left edge of the retina, at column 90, has a grey value of 13.
    image[:] = image * np.linspace(-0.06, 1, 600).clip(0)[None, :, None]
    assert 10 < cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[260, 92] < 16


def with_bright_background(image):
    image[~image.any(axis=2)] = 35


def with_notch_and_rim(image):
    image[30:60, 300:310] = 0
    cv2.circle(image, (310, 260), 219, (255, 255, 255), 2)


def with_strip(where, value):
    """A strip that is wider than the retina and as bright is not one."""
    return lambda image: image.__setitem__(where, value)


@pytest.mark.parametrize('change', [
    with_text, with_dark_side, with_bright_background, with_notch_and_rim,
    with_strip(np.s_[485:], 240),
    with_strip(np.s_[485:], 90),
    with_strip(np.s_[:20], 240),
    with_strip(np.s_[:, :60], 240)
])  # yapf: disable
def test_the_retina_is_found(change):
    image = photograph((600, 500), (310, 260), 220)
    change(image)
    fov = find_field_of_view(image)
    assert fov.certain
    assert within_one_percent(fov.box, square((310, 260), 220))


def beside(*images, axis=1):
    return np.concatenate(images, axis=axis)


def framed(image, size):
    """An image in the middle of a black frame, (width, height)."""
    out = np.zeros((size[1], size[0], 3), np.uint8)
    top, left = (size[1] - len(image)) // 2, (size[0] - image.shape[1]) // 2
    out[top:top + len(image), left:left + image.shape[1]] = image
    return out


@pytest.mark.parametrize('image, number', [
    *((beside(EYE, EYE[:, ::-1] // dim, axis=axis), 2)
      for axis in (0, 1) for dim in (1, 8)),  # so dim that it is hard to see
    (beside(EYE[24:-24, 24:-24], EYE[24:-24, 24:-24]), 2),  # touching
    (beside(EYE[24:-24, 28:-28], EYE[24:-24, 28:-28]), 2),  # cut off
    (beside(beside(EYE, EYE), beside(EYE, EYE), axis=0), 4),
    (framed(beside(EYE, EYE), (3000, 2000)), 2),
])  # yapf: disable
def test_several_eyes_are_named_and_not_cropped(image, number):
    fov = find_field_of_view(image)
    assert not fov.certain and len(fov.several) == number
    assert fov.box == (0, 0, image.shape[1], image.shape[0])
    # all retinas are measured, what is between them is not
    for x, y, width, height in fov.several:
        assert fov.mask[y + height // 2, x + width // 2]


@pytest.mark.parametrize('make', [
    lambda eye: np.zeros((40, 60, 3), np.uint8),
    lambda eye: np.full((40, 60, 3), 180, np.uint8),
    # a bright optic disc in an eye that is too dark to see
    lambda eye: np.maximum(
        framed(eye // 12, (600, 600)), photograph((600, 600), (300, 300), 60)),
    lambda eye: np.where(
        framed(eye, (1500, 1000)).any(2, keepdims=True),
        framed(eye, (1500, 1000)), np.uint8(255)),
    lambda eye: np.random.default_rng(0).integers(0, 255, (400, 500, 3),
                                                  np.uint8),
], ids=['black', 'grey', 'disc only', 'white frame', 'noise'])  # yapf: disable
def test_what_is_uncertain_is_kept_whole(make):
    image = make(photograph((300, 300), (150, 150), 138))
    fov = find_field_of_view(image)
    assert not fov.certain and fov.mask.all()
    assert fov.box == (0, 0, image.shape[1], image.shape[0])


def test_padding():
    geometry = make_geometry('g0001', (2124, 2056))  # of REFUGE's training
    assert (geometry.pad_left, geometry.pad_top) == (0, 34)
    assert geometry.prepared_width == geometry.prepared_height == 2124
    # the odd pixel goes to the bottom
    padded = make_geometry('a', (5, 2)).apply(np.full((2, 5), 7), True)
    assert padded[:, 0].tolist() == [0, 7, 7, 0, 0]
    # small images are not enlarged
    assert make_geometry('a', (50, 40), max_side=64).prepared_width == 50


def test_restore_is_the_inverse():
    labels = np.random.default_rng(0).integers(0, 5, (50, 70), np.uint8)
    geometry = make_geometry('a', (70, 50), (10, 5, 41, 30))
    prepared = geometry.apply(labels, is_label=True)
    assert prepared.shape == (41, 41)
    expected = np.zeros_like(labels)
    expected[5:35, 10:51] = labels[5:35, 10:51]
    assert (geometry.restore(prepared) == expected).all()
    with pytest.raises(ValueError, match='do not belong'):
        geometry.restore(labels)
    # after scaling to a pixel
    labels = np.zeros((400, 600), np.uint8)
    labels[100:180, 200:330] = 2
    geometry = make_geometry('a', (600, 400), (50, 0, 500, 400), max_side=250)
    prepared = geometry.apply(labels, is_label=True)
    assert prepared.shape == (250, 250)
    rows, columns = np.nonzero(geometry.restore(prepared))
    box = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
    assert np.abs(np.subtract(box, (200, 100, 330, 180))).max() <= 1
