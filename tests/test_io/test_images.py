"""Headers that claim absurd sizes, and files that are no images."""
import os

import cv2
import pytest
from PIL import Image

from mbos.io import RefusedError
from mbos.io.photographs import read_layout
from tests.bombs import BOMBS, png


@pytest.mark.parametrize('suffix', BOMBS)
def test_sizes_in_headers(tmp_path, suffix):
    path = tmp_path / f'eye.{suffix}'
    for size in ((60000, 60000), (20000, 20000)):
        path.write_bytes(BOMBS[suffix](*size))
        assert path.stat().st_size < 1000
        with pytest.raises(RefusedError, match='256000000.*MBOS_MAX') as error:
            read_layout(path)
        assert str(path) in str(error.value)
    path.write_bytes(BOMBS[suffix](15000, 16000))
    assert read_layout(path).shape == (16000, 15000)
    # what is checked is what is decoded
    Image.new('RGB', (30, 20), (90, 60, 30)).save(path)
    assert cv2.imread(str(path)).shape[:2] == read_layout(path).shape


def test_limit_can_be_set(tmp_path, monkeypatch):
    path = tmp_path / 'eye.png'
    path.write_bytes(png(60000, 60000))
    monkeypatch.setenv('MBOS_MAX_IMAGE_PIXELS', '3600000000')
    assert read_layout(path).shape == (60000, 60000)
    monkeypatch.setenv('MBOS_MAX_IMAGE_PIXELS', '3599999999')
    with pytest.raises(RefusedError, match='60000x60000.*3599999999'):
        read_layout(path)
    for text in ('-1', 'many', '1e9'):
        monkeypatch.setenv('MBOS_MAX_IMAGE_PIXELS', text)
        with pytest.raises(RefusedError, match='expected a number'):
            read_layout(path)


@pytest.mark.parametrize('make', [
    os.mkfifo,  # would be waited for until somebody writes to it
    os.mkdir,
    lambda path: None,
    *(lambda path, content=content: path.write_bytes(content)
      for content in (b'hello', b'', png(8, 8)[:20], b'%!PS-Adobe-3.0 EPSF-3.0'
                      b'\n%%BoundingBox: 0 0 8 8\n'))
])  # yapf: disable
def test_what_is_no_image(tmp_path, make):
    make(tmp_path / 'eye.jpg')
    with pytest.raises(RefusedError, match='eye.jpg'):
        read_layout(tmp_path / 'eye.jpg')
