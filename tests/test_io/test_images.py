"""Headers that claim absurd sizes, and files that are no images."""
import os

import cv2
import pytest
from PIL import Image

from mbos.io import RefusedError, check_image_header, max_image_pixels
from tests.bombs import BOMBS, png


@pytest.mark.parametrize('suffix', BOMBS)
@pytest.mark.parametrize('size', [(60000, 60000), (20000, 20000)])
def test_absurd_size(tmp_path, suffix, size):
    """Above and below the double of the limit, where Pillow complains."""
    path = tmp_path / f'eye.{suffix}'
    path.write_bytes(BOMBS[suffix](*size))
    assert path.stat().st_size < 1000
    with pytest.raises(RefusedError, match='256000000 pixels.*MBOS_MAX') as e:
        check_image_header(path)
    assert str(path) in str(e.value)


@pytest.mark.parametrize('suffix', BOMBS)
def test_plausible_size(tmp_path, suffix):
    """Larger than Pillow's own limit, and smaller than ours."""
    path = tmp_path / f'eye.{suffix}'
    path.write_bytes(BOMBS[suffix](15000, 16000))
    assert check_image_header(path) == (15000, 16000)


@pytest.mark.parametrize('suffix', BOMBS)
def test_headers_are_those_that_opencv_reads(tmp_path, suffix):
    """So that what is checked is what is decoded."""
    path = tmp_path / f'eye.{suffix}'
    Image.new('RGB', (30, 20), (90, 60, 30)).save(path)
    width, height = check_image_header(path)
    assert cv2.imread(str(path)).shape == (height, width, 3) == (20, 30, 3)


def test_limit_can_be_set(tmp_path, monkeypatch):
    path = tmp_path / 'eye.png'
    path.write_bytes(png(60000, 60000))
    monkeypatch.setenv('MBOS_MAX_IMAGE_PIXELS', '3600000000')
    assert check_image_header(path) == (60000, 60000)
    monkeypatch.setenv('MBOS_MAX_IMAGE_PIXELS', '3599999999')
    with pytest.raises(RefusedError, match='60000x60000.*3599999999'):
        check_image_header(path)
    for text in ('0', '-1', 'many', '1e9'):
        monkeypatch.setenv('MBOS_MAX_IMAGE_PIXELS', text)
        with pytest.raises(RefusedError, match='expected a number'):
            max_image_pixels()


def test_what_is_no_image(tmp_path):
    for name, content in dict(
            text=b'hello',
            nothing=b'',
            cut=png(8, 8)[:20],
            eps=b'%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n').items():
        path = tmp_path / f'{name}.jpg'
        path.write_bytes(content)
        with pytest.raises(RefusedError, match='cannot be read.*JPEG'):
            check_image_header(path)
    with pytest.raises(FileNotFoundError):
        check_image_header(tmp_path / 'no.jpg')


@pytest.mark.parametrize('make', [os.mkfifo, os.mkdir])
def test_no_regular_file(tmp_path, make):
    """A pipe would be waited for until somebody writes to it."""
    make(tmp_path / 'eye.jpg')
    with pytest.raises(
            RefusedError, match='not a regular file.*(pipe|folder)'):
        check_image_header(tmp_path / 'eye.jpg')
    with pytest.raises(RefusedError, match='NUL|null'):
        check_image_header(str(tmp_path) + '/a\0.jpg')
