"""Masks of every encoding."""
import gzip

import numpy as np
import pytest
from PIL import Image
from raw_trees import (DISC, SIZE, rectangle, save, save_grey,
                       save_one_bit_palette)

from mbos.io import RefusedError
from mbos.io.photographs import Layout
from prepare_dataset import labels

MASK = rectangle(10, 20, 30, 50)
LAYOUT = Layout(SIZE[::-1])


def save_rgb(path, mask):
    save(path, np.repeat(mask[..., None], 3, 2).astype(np.uint8) * 255)


def save_packed(path, mask):
    save_rgb(path.with_suffix(''), mask)
    path.write_bytes(gzip.compress(path.with_suffix('').read_bytes()))


@pytest.mark.parametrize('name, writer', [
    ('a.gif', save_grey),
    ('a.tif', save_one_bit_palette),
    ('a.bmp', save_grey),
    ('a.png', save_rgb),
    ('a.ppm.gz', save_packed),
    ('a.png', lambda path, mask: save(path, mask.astype(np.uint8))),
    ('a.tif', lambda path, mask: save(path, Image.fromarray(mask))),
    ('a.png', lambda path, mask: save(path,
                                      mask.astype(np.uint16) * 65535)),
])
def test_binary_masks_of_every_encoding(tmp_path, name, writer):
    writer(tmp_path / name, MASK)
    found, counts = labels.binary(tmp_path / name, LAYOUT)
    assert found.dtype == np.uint8
    assert (found == MASK).all() and counts == {}


def test_files_that_are_no_masks_are_named(tmp_path):
    values = MASK.astype(np.uint8) * 255
    values[0, 0] = 77
    path = save(tmp_path / 'a.png', values)
    with pytest.raises(RefusedError, match=r'a\.png.*0, 77, 255.*original'):
        labels.binary(path, LAYOUT)
    assert (labels.soft_binary(path, LAYOUT)[0] == MASK).all()
    with pytest.raises(RefusedError, match=r'a\.png.*120x100.*60x50'):
        labels.binary(path, Layout((50, 60)))
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(RefusedError, match=r'a\.png: cannot be read'):
        labels.binary(path, LAYOUT)


def test_refuge_without_cup_or_with_unknown_values(tmp_path):
    values = np.where(DISC, np.uint8(128), np.uint8(255))
    for background in (0, 255):
        values[values != 128] = background
        path = save(tmp_path / 'a.bmp', values)
        found, counts = labels.refuge(path, LAYOUT)
        assert (found == DISC).all()
        assert counts == {'inverted masks': int(background == 0)}
    values[0, 0] = 3
    save(path, values)
    with pytest.raises(RefusedError, match=r'a\.bmp.*found 3'):
        labels.refuge(path, LAYOUT)
    save(path, np.full_like(values, 128))
    with pytest.raises(RefusedError, match='frame of the mask'):
        labels.refuge(path, LAYOUT)
