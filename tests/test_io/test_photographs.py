"""Reading photographs of every kind, and refusing what is none."""
import os
import struct

import numpy as np
import pytest
from PIL import Image, ImageOps

from mbos.io.photographs import (PhotographError, is_colourless,
                                 read_photograph, to_8_bits)
from tests import bombs

RED = (200, 60, 20)


def picture(height=12, width=20):
    """Something that no turn or mirroring leaves as it is."""
    image = np.zeros((height, width, 3), np.uint8)
    image[:] = RED
    image[:3, :5] = (10, 200, 30)
    return image


def deep_tiff(values, orientation=1):
    """An uncompressed TIFF of 16-bit RGB, written by hand."""
    height, width, _ = values.shape
    data = values.astype('<u2').tobytes()
    entries = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, 3, 134),
               (259, 3, 1, 1), (262, 3, 1, 2), (273, 4, 1, 140),
               (274, 3, 1, orientation), (277, 3, 1, 3), (278, 4, 1, height),
               (279, 4, 1, len(data))]
    directory = b''.join(struct.pack('<HHII', *entry) for entry in entries)
    return (b'II*\0' + struct.pack('<IH', 8, len(entries)) + directory +
            struct.pack('<IHHH', 0, 16, 16, 16) + data)


@pytest.mark.parametrize('orientation', range(1, 9))
def test_orientation_of_deep_tiffs(tmp_path, orientation):
    path = tmp_path / 'eye.tif'
    path.write_bytes(deep_tiff(picture().astype(np.uint16) * 257, orientation))
    stored = Image.fromarray(picture())
    stored.getexif()[0x0112] = orientation
    expected = np.array(ImageOps.exif_transpose(stored))
    found = read_photograph(str(path))
    np.testing.assert_array_equal(found.image, expected)
    assert found.notes[-1] == '16 bits reduced to 8'
    assert len(found.notes) == (2 if orientation > 1 else 1)


def test_shares_and_strange_values():
    values = np.array([0, 0.5, 1], np.float32)
    np.testing.assert_array_equal(to_8_bits(values)[0], [0, 127, 255])
    odd = np.array([np.nan, np.inf, -4, 255, 1e6], np.float32)
    assert to_8_bits(odd)[0].tolist() == [0, 0, 0, 0, 254]
    assert to_8_bits(np.array([0, 1], np.uint16))[0].tolist() == [0, 1]
    for bits in (10, 12, 14, 16):  # a camera of 12 bits is not dark
        stored = np.array([0, 2**(bits - 1), 2**bits - 1], np.uint16)
        found, depth = to_8_bits(stored)
        assert found.tolist() == [0, 128, 255] and depth == bits


def test_colour():
    assert not is_colourless(picture(64, 64))
    grey = np.repeat(picture(64, 64)[..., :1], 3, axis=2)
    assert is_colourless(grey)
    grey[..., 1] += 3  # compression noise
    assert is_colourless(grey)


def write_half(path):
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(path, format='PNG')
    path.write_bytes(path.read_bytes()[:4000])


@pytest.mark.parametrize('write, said', [
    (lambda path: path.write_bytes(b''), 'is not a picture'),
    (lambda path: path.write_text('notes on the eye'), 'is not a picture'),
    (write_half, 'cannot be read'),
    (lambda path: path.write_bytes(bombs.png(60000, 60000)), 'more than the'),
    (lambda path: path.mkdir(), 'not a regular file'),
    (lambda path: os.mkfifo(path), 'not a regular file'),
    (lambda path: None, 'no such file'),
])
def test_what_is_no_photograph(tmp_path, write, said):
    path = tmp_path / 'eye.jpg'
    write(path)
    with pytest.raises(PhotographError, match=said) as caught:
        read_photograph(str(path))
    assert str(path) in str(caught.value)
