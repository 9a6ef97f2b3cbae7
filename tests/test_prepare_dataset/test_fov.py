"""Field of view, padding and its inverse."""
import cv2
import numpy as np
import pytest
from raw_trees import BOX, CENTRE, RADIUS, SIZE, photograph

from mbos.io.field_of_view import find_field_of_view
from mbos.io.geometry import make_geometry
from prepare_dataset import synthetic
from prepare_dataset.synthetic_camera import photograph as synthetic_photograph
from prepare_dataset.synthetic_eye import draw_eye


def within_one_percent(box, centre, radius):
    truth = (centre[0] - radius, centre[1] - radius, 2 * radius + 1,
             2 * radius + 1)
    tolerance = max(2, 0.01 * 2 * radius)
    return np.abs(np.subtract(box, truth)).max() <= tolerance


def test_published_box_is_the_disc_and_two_pixels_of_dilation():
    fov = find_field_of_view(photograph())
    assert fov.box == BOX
    assert fov.certain
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


@pytest.mark.parametrize(
    'change',
    [with_text, with_dark_side, with_bright_background, with_notch_and_rim])
def test_the_retina_is_found(change):
    image = photograph((600, 500), (310, 260), 220)
    change(image)
    fov = find_field_of_view(image)
    assert fov.certain
    assert within_one_percent(fov.box, (310, 260), 220)


@pytest.mark.parametrize('name, size',
                         [(name, 352)
                          for name in synthetic.CAMERAS] + [('REFUGE', 600)])
def test_box_of_drawn_photographs(name, size):
    """Within one per cent of the true field of view, for every camera."""
    for number, camera in enumerate(synthetic.CAMERAS[name]):
        rng = np.random.default_rng(number)
        eye = draw_eye(camera.frame(size), rng, diseased=True)
        true = cv2.boundingRect(eye.masks()['fov'].astype(np.uint8))
        fov = find_field_of_view(synthetic_photograph(eye, camera, rng))
        assert fov.certain
        tolerance = max(2, 0.01 * max(true[2:]))
        corners = [
            np.add((x, y, x, y), (0, 0, width, height))
            for x, y, width, height in (true, fov.box)
        ]
        assert np.abs(np.subtract(*corners)).max() <= tolerance


def test_disc_cut_above_and_below():
    image = photograph((600, 300), (310, 150), 220)
    x, y, width, height = find_field_of_view(image).box
    assert (y, height) == (0, 300)
    assert abs(x - 90) <= 2 and abs(width - 441) <= 4


@pytest.mark.parametrize('value', [0, 180])
def test_photograph_without_retina_is_kept_whole(value):
    fov = find_field_of_view(np.full((40, 60, 3), value, np.uint8))
    assert fov.box == (0, 0, 60, 40)
    assert not fov.certain


def test_refuge_training_gets_34_rows_above_and_below():
    geometry = make_geometry('g0001', (2124, 2056))
    assert (geometry.pad_left, geometry.pad_top) == (0, 34)
    assert geometry.prepared_width == geometry.prepared_height == 2124


def test_odd_pixel_goes_to_bottom_and_right():
    image = np.full((2, 5), 7, np.uint8)
    padded = make_geometry('a', (5, 2)).apply(image, is_label=True)
    assert padded[:, 0].tolist() == [0, 7, 7, 0, 0]
    padded = make_geometry('a', (2, 5)).apply(image.T, is_label=True)
    assert padded[0].tolist() == [0, 7, 7, 0, 0]


def test_restore_is_the_inverse_inside_the_box():
    labels = np.random.default_rng(0).integers(0, 5, (50, 70), np.uint8)
    geometry = make_geometry('a', (70, 50), (10, 5, 41, 30))
    prepared = geometry.apply(labels, is_label=True)
    assert prepared.shape == (41, 41)
    expected = np.zeros_like(labels)
    expected[5:35, 10:51] = labels[5:35, 10:51]
    assert (geometry.restore(prepared) == expected).all()


def test_restore_after_scaling_is_exact_to_a_pixel():
    labels = np.zeros((400, 600), np.uint8)
    labels[100:180, 200:330] = 2
    geometry = make_geometry('a', (600, 400), (50, 0, 500, 400), max_side=250)
    prepared = geometry.apply(labels, is_label=True)
    assert prepared.shape == (250, 250)
    rows, columns = np.nonzero(geometry.restore(prepared))
    box = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
    assert np.abs(np.subtract(box, (200, 100, 330, 180))).max() <= 1


def test_restore_refuses_another_size():
    with pytest.raises(ValueError, match='do not belong'):
        make_geometry('a', (5, 2)).restore(np.zeros((4, 4), np.uint8))


def test_small_images_are_not_enlarged():
    assert make_geometry('a', (50, 40), max_side=64).prepared_width == 50


def beside(*images, axis=1):
    return np.concatenate(images, axis=axis)


def framed(image, size):
    """An image in the middle of a black frame, (width, height)."""
    out = np.zeros((size[1], size[0], 3), np.uint8)
    top, left = (size[1] - len(image)) // 2, (size[0] - image.shape[1]) // 2
    out[top:top + len(image), left:left + image.shape[1]] = image
    return out


@pytest.mark.parametrize('where, value', [('below', 240), ('below', 90),
                                          ('above', 240), ('left', 240),
                                          ('touching', 90)])
def test_round_regions_beat_banners(where, value):
    """A strip that is wider than the retina and as bright is not one."""
    image = photograph((800, 700), (400, 350), 276)
    banner = dict(
        below=np.s_[660:],
        above=np.s_[:40],
        left=np.s_[:, :60],
        touching=np.s_[628:])[where]
    image[banner] = value
    fov = find_field_of_view(image)
    assert fov.certain
    assert within_one_percent(fov.box, (400, 350), 276)


@pytest.mark.parametrize('axis', [0, 1])
@pytest.mark.parametrize('dim', [1, 8])
def test_two_eyes_are_named_and_not_cropped(axis, dim):
    """Also where one of them is so dim that only low thresholds see it."""
    eye = photograph((600, 600), (300, 300), 276)
    image = beside(eye, eye[:, ::-1] // dim, axis=axis)
    fov = find_field_of_view(image)
    assert not fov.certain and len(fov.several) == 2
    assert fov.box == (0, 0, image.shape[1], image.shape[0])
    # both retinas are measured, what is between them is not
    assert fov.mask[300, 300] and fov.mask[-300, -300] and not fov.mask[0, 0]


@pytest.mark.parametrize('make, number', [
    (lambda eye: beside(eye[12:-12, 12:-12], eye[12:-12, 12:-12]), 2),
    (lambda eye: beside(eye[12:-12, 16:-16], eye[12:-12, 16:-16]), 2),
    (lambda eye: beside(beside(eye, eye), beside(eye, eye), axis=0), 4),
    (lambda eye: framed(beside(eye, eye), (3000, 2000)), 2),
], ids=['touching', 'cut off', 'four', 'small'])  # yapf: disable
def test_eyes_that_touch_or_are_many_or_small_are_named(make, number):
    image = make(photograph((600, 600), (300, 300), 288))
    fov = find_field_of_view(image)
    assert not fov.certain and len(fov.several) == number
    assert fov.box == (0, 0, image.shape[1], image.shape[0])
    for x, y, width, height in fov.several:
        assert fov.mask[y + height // 2, x + width // 2]


def test_thumbnail_beside_the_eye_is_left_out():
    eye = photograph((600, 600), (300, 300), 276)
    small = np.zeros_like(eye)
    small[:200, :200] = eye[::3, ::3]
    fov = find_field_of_view(beside(eye, small))
    assert fov.certain
    assert within_one_percent(fov.box, (300, 300), 276)


def test_small_disc_in_a_large_black_frame():
    eye = photograph((300, 300), (150, 150), 138)
    fov = find_field_of_view(framed(eye, (1500, 1000)))
    assert fov.certain
    # and two pixels of dilation on each side
    assert fov.box == (610, 360, 281, 281)


@pytest.mark.parametrize(
    'make',
    [
        # a bright optic disc in an eye that is too dark to see
        lambda eye: np.maximum(
            framed(eye // 12,
                   (600, 600)), photograph((600, 600), (300, 300), 60)),
        lambda eye: np.where(
            framed(eye, (1500, 1000)).any(2, keepdims=True),
            framed(eye, (1500, 1000)), np.uint8(255)),
        lambda eye: np.random.default_rng(0).integers(0, 255,
                                                      (400, 500, 3), np.uint8),
    ],
    ids=['disc only', 'white frame', 'noise'])
def test_what_is_uncertain_is_kept_whole(make):
    image = make(photograph((300, 300), (150, 150), 138))
    fov = find_field_of_view(image)
    assert not fov.certain
    assert fov.box == (0, 0, image.shape[1], image.shape[0])
    assert fov.mask.all()
