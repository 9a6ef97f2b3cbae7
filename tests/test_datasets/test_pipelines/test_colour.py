import random

import numpy as np
import pytest
import torch

from mbos.datasets.pipelines.colour import (ColorJitter, RandomGamma,
                                            RandomGaussianBlur,
                                            RandomGrayscale)
from mbos.datasets.pipelines.transforms import CutOut


def changed(transform, image):
    found = transform(dict(img=image, seg_fields=[]))['img']
    assert found.dtype == np.uint8 and found.shape == image.shape
    return found


def pixel_of(transform, pixel):
    """What an image of one colour, BGR, becomes."""
    found = changed(transform, np.full((4, 5, 3), pixel, np.uint8))
    assert (found == found[0, 0]).all()
    return found[0, 0].astype(int)


THIRD = 1 / 3


@pytest.mark.parametrize(
    'transform, expected',
    [
        # 0.299 * 255 = 76 for red; taken for blue it is 0.114 * 255 = 29
        (RandomGrayscale(1.0), [76] * 3),
        (RandomGrayscale(1.0, 'bgr'), [29] * 3),
        # a third of a turn makes red green, and blue red (written in BGR)
        (ColorJitter(0, 0, 0, (THIRD, THIRD), 1.0), [0, 255, 0]),
        (ColorJitter(0, 0, 0, (THIRD, THIRD), 1.0, 'bgr'), [255, 0, 0]),
        (ColorJitter((0.5, 0.5), 0, 0, 0, 1.0), [0, 0, 127]),
    ])
def test_what_becomes_of_red(transform, expected):
    assert np.abs(pixel_of(transform, (0, 0, 255)) - expected).max() <= 6


def test_blur_of_a_point():
    """The centre of a Gaussian of sigma 1 is 1 / (2 pi) = 0.159."""
    image = np.zeros((15, 15, 3), np.uint8)
    image[7, 7] = 255
    blurred = changed(RandomGaussianBlur((1.0, 1.0), prob=1.0), image)
    assert abs(int(blurred[7, 7, 0]) - 0.159 * 255) < 1.5


@pytest.mark.parametrize('transform, low, high', [
    # 255 * (128 / 255) ** 2 = 64.3 and 255 * (128 / 255) ** 0.5 = 180.7
    (RandomGamma(2.0, 1.0, 1.0), 64, 181),
    # channels on their own: ** 1.5 = 90.7, ** (1 / 1.5) = 161.1
    (RandomGamma(1.0, 1.5, 1.0), 90, 162),
])  # yapf: disable
def test_gamma_keeps_black_and_white_and_their_order(transform, low, high):
    np.random.seed(0)
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, 2)
    found = [changed(transform, levels).reshape(256, 3) for _ in range(300)]
    tones = np.stack(found).astype(int)
    assert (tones[:, 0] == 0).all() and (tones[:, 255] == 255).all()
    assert (np.diff(tones, axis=1) >= 0).all()
    mids = tones[:, 128]
    assert low <= mids.min() < low + 6 and high - 7 < mids.max() <= high
    # as often darker as brighter
    assert abs((mids < 128).mean() - 0.5) < 0.1


@pytest.mark.parametrize('transform, share', [
    (ColorJitter(), 0.8),
    (RandomGamma(), 0.8),
    (RandomGrayscale(), 0.2),
    (CutOut(), 0.5),
    (RandomGaussianBlur((2.0, 2.0)), 0.5),
])
def test_probabilities(transform, share):
    for seed in (random.seed, np.random.seed, torch.manual_seed):
        seed(0)
    image = np.random.randint(0, 256, (8, 8, 3)).astype(np.uint8)
    hits = sum((changed(transform, image) != image).any() for _ in range(400))
    assert abs(hits / 400 - share) < 0.08
