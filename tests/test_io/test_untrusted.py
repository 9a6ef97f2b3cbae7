"""Links out of the root, names, headers of absurd sizes, what is no image."""
import os

import pytest

from mbos.io import (RefusedError, check_inside, problems_of_links,
                     problems_of_names, read_text)
from mbos.io.photographs import read_layout
from tests.bombs import BOMBS, png


@pytest.fixture
def root(tmp_path):
    """A folder ``root`` beside ``elsewhere``, with a file each."""
    for folder in ('root/inside', 'elsewhere', 'root2'):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / 'eye.jpg').touch()
    return tmp_path / 'root'


def test_links_within_the_root(root):
    # followed, forty levels of three links each would be 3^40 folders
    for name in 'abc':
        (root / name).symlink_to('.')
    (root.parent / 'data').symlink_to('root')
    for place in (root, root.parent / 'data'):
        check_inside(place, place / 'a/eye.jpg')
        check_inside(place, place / 'inside/../inside/eye.jpg')
        assert problems_of_links(place, recursive=True) == []


@pytest.mark.parametrize('link, target', [
    ('eye.jpg', 'elsewhere/eye.jpg'), ('inside/folder', 'elsewhere'),
    ('missing', 'no/such/file'), ('neighbour', 'root2')])  # yapf: disable
def test_links_out_of_the_root(root, monkeypatch, link, target):
    (root / link).symlink_to(root.parent / target)
    with pytest.raises(RefusedError, match=f'{link}: .*leads out of') as error:
        check_inside(root, root / link)
    assert problems_of_links(root, recursive=True) == [str(error.value)]
    allowed = str(error.value).split('MBOS_ALLOW_LINKS=')[1].split(' ')[0]
    for folders in (f'/no/such:{allowed}', '/'):
        monkeypatch.setenv('MBOS_ALLOW_LINKS', folders)
        assert problems_of_links(root, recursive=True) == []


def test_folders_that_are_looked_at(root):
    """The folder itself, and no deeper unless asked for more."""
    elsewhere = root.parent / 'elsewhere'
    (root / 'images').symlink_to(elsewhere)
    (root / 'inside/deep').mkdir()
    (root / 'inside/deep/a').symlink_to('/')
    found, = problems_of_links(root, root / 'images')
    assert str(root / 'images') in found
    assert problems_of_links(root, root / 'inside') == []
    # somebody else's folder, named outright: it is its own root
    check_inside(root, elsewhere / 'eye.jpg')
    assert problems_of_links(root, elsewhere) == []


def test_names(tmp_path):
    for name in ('eye 1.jpg', 'œil_ñ.jpg', 'a\nb.jpg', 'c\x1b[31m.jpg'):
        (tmp_path / name).touch()
    os.close(os.open(bytes(tmp_path) + b'/\xff.jpg', os.O_CREAT))
    found = problems_of_names(tmp_path)
    assert len(found) == 3 and all(text.isprintable() for text in found)
    assert r"'a\nb.jpg'" in found[0] and 'rename' in found[0]


def test_text(tmp_path):
    path = tmp_path / 'list.txt'
    path.write_bytes(b'\xef\xbb\xbfeye_1\r\n')
    assert read_text(path).split() == ['eye_1']
    with pytest.raises(RefusedError, match='more than 5 bytes'):
        read_text(path, 5)
    with pytest.raises(RefusedError, match='device'):
        read_text('/dev/zero')


@pytest.mark.parametrize('suffix', BOMBS)
def test_sizes_in_headers(tmp_path, suffix):
    path = tmp_path / f'eye.{suffix}'
    path.write_bytes(BOMBS[suffix](20000, 20000))
    assert path.stat().st_size < 1000
    with pytest.raises(RefusedError, match=f'{path}.*256000000.*MBOS_MAX'):
        read_layout(path)
    path.write_bytes(BOMBS[suffix](15000, 16000))
    assert read_layout(path).shape == (16000, 15000)


def test_limit_can_be_set(tmp_path, monkeypatch):
    path = tmp_path / 'eye.png'
    path.write_bytes(png(60000, 60000))
    monkeypatch.setenv('MBOS_MAX_IMAGE_PIXELS', '3600000000')
    assert read_layout(path).shape == (60000, 60000)
    for text in ('3599999999', '-1', 'many', '1e9'):
        monkeypatch.setenv('MBOS_MAX_IMAGE_PIXELS', text)
        with pytest.raises(RefusedError, match=f'(1 to |is .){text}'):
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
