"""A region against all of the image, resized by OpenCV and sliced."""
import cv2
import numpy as np
import pytest

from mbos.datasets.pipelines.loading import Region


def corners(size, side):
    """Boxes at the four corners, in the middle, and larger than all."""
    height, width = size
    yield 0, side, 0, side
    bottom, right = max(height - side, 0), max(width - side, 0)
    yield bottom, bottom + side, right, right + side
    yield 0, side, right, right + side
    yield bottom // 2, bottom // 2 + side, right // 3, right // 3 + side
    yield 0, height + 50, 0, width + 50


@pytest.mark.parametrize('source', [(300, 400), (97, 61), (512, 512)])
@pytest.mark.parametrize('size', [(300, 400), (150, 201), (64, 64), (777, 555),
                                  (299, 1030)])
def test_same_as_resize_and_slice(source, size):
    generator = np.random.default_rng(0)
    image = generator.integers(0, 256, source + (3, ), np.uint8)
    labels = generator.integers(0, 256, source, np.uint8)
    whole = cv2.resize(image, size[::-1], interpolation=cv2.INTER_LINEAR)
    nearest = cv2.resize(labels, size[::-1], interpolation=cv2.INTER_NEAREST)
    for box in corners(size, 60):
        region = Region(source, size, box)
        top, bottom, left, right = box
        expected = whole[top:bottom, left:right]
        found = region.sample_image(image)
        assert found.shape == expected.shape == region.shape + (3, )
        difference = np.abs(found.astype(int) - expected)
        # on noise, where a shift by a hundredth of a pixel shows
        assert difference.max() <= 1 and difference.mean() < 0.2
        assert (region.sample_labels(labels) == nearest[top:bottom,
                                                        left:right]).all()


def test_every_scale_takes_the_pixels_that_opencv_takes():
    for source in (61, 512, 565, 1024, 2124, 3416):
        ramp = np.arange(source, dtype=np.uint16)[None].repeat(2, 0)
        for size in range(30, 2100, 37):
            expected = cv2.resize(
                ramp, (size, 2), interpolation=cv2.INTER_NEAREST)
            region = Region((2, source), (2, size), (0, 2, 0, size))
            assert (region.sample_labels(ramp) == expected).all()


@pytest.mark.parametrize('source, size, factor', [
    ((2048, 2048), (1024, 1024), 2),
    ((2048, 2048), (1025, 1025), 1),
    ((3416, 3416), (854, 854), 4),
    ((3416, 3416), (855, 855), 2),
    ((3416, 3416), (100, 100), 8),
    ((500, 4000), (400, 500), 1),
])
def test_reduction_by_hand(source, size, factor):
    assert Region(source, size, (0, 1, 0, 1)).reduction() == factor


@pytest.mark.parametrize('factor', [2, 4, 8])
@pytest.mark.parametrize('source', [(256, 320), (251, 317)])
def test_smaller_image_is_sampled_at_the_same_places(factor, source):
    """A ramp shows where a pixel comes from: means of blocks lie on it."""
    y, x = np.mgrid[:source[0], :source[1]].astype(np.float32)
    ramp = np.stack([y, x, y + x], -1)
    small = tuple(-(-n // factor) for n in source)
    padding = [(0, m * factor - n) for n, m in zip(source, small)] + [(0, 0)]
    # what a JPEG decoder does: it has whole blocks, the last one continued
    blocks = np.pad(ramp, padding, mode='reflect', reflect_type='odd')
    blocks = blocks.reshape(small[0], factor, small[1], factor, 3)
    reduced = blocks.mean((1, 3)).astype(np.float32)
    region = Region(source, (30, 37), (3, 27, 5, 33))
    expected = region.sample_image(ramp)
    np.testing.assert_allclose(
        region.sample_image(reduced, factor), expected, atol=1e-3)
