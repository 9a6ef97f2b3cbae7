import json
import os
import sys
import time

import numpy as np
import pytest
from PIL import Image

from mbos.io.files import (remove_leftovers, save_bytes, save_image, save_json,
                           save_text, save_whole, whole_file, whole_path)

PICTURE = np.full((4, 6, 3), (200, 0, 0), np.uint8)


def test_content_and_folder(tmp_path):
    path = tmp_path / 'new' / 'figures.json'
    save_json(path,
              dict(a=[1, float('nan')], b=(float('inf'), 2.5), c=dict(d=None)))
    assert json.loads(path.read_text()) == dict(
        a=[1, None], b=[None, 2.5], c=dict(d=None))
    assert os.listdir(path.parent) == ['figures.json']


@pytest.mark.parametrize('name, mode', [('a.png', 'RGB'), ('A.JPG', 'RGB'),
                                        ('a.tif', 'L')])
def test_images_by_suffix(tmp_path, name, mode):
    path = tmp_path / 'new' / name
    save_image(path, PICTURE if mode == 'RGB' else PICTURE[..., 0])
    with Image.open(path) as image:
        red = image.getpixel((3, 2))
        assert (image.size, image.mode) == ((6, 4), mode)
    np.testing.assert_allclose(
        red, (200, 0, 0) if mode == 'RGB' else 200, atol=2)
    assert os.listdir(path.parent) == [name]


@pytest.mark.parametrize('suffix', ['.nonsense', '', '.pcd'])
def test_suffix_of_no_format(tmp_path, suffix):
    with pytest.raises(ValueError, match='use .jpg'):
        save_image(tmp_path / f'a{suffix}', PICTURE)
    assert not os.listdir(tmp_path)


def fail_in_the_middle(path):
    with whole_file(path) as file:
        file.write(b'half')
        raise OSError('disk full')


def fail_under_the_temporary_name(path):
    with whole_path(path) as temporary:
        with open(temporary, 'wb') as file:
            file.write(b'half')
        raise OSError('disk full')


@pytest.mark.parametrize('fail', [
    fail_in_the_middle, fail_under_the_temporary_name,
    lambda path: save_whole(path, lambda file: 1 / 0),
    lambda path: save_json(path, dict(a=object())),
    lambda path: save_text(path, '\ud800'),
    lambda path: save_image(path, PICTURE, quality='nonsense')
])
def test_failure_leaves_the_file_as_it_was(tmp_path, fail):
    path = tmp_path / 'a.jpg'
    save_bytes(path, b'before')
    with pytest.raises(Exception):
        fail(path)
    assert path.read_bytes() == b'before'
    assert os.listdir(tmp_path) == ['a.jpg']


def test_a_folder_of_that_name_stays(tmp_path):
    (tmp_path / 'a').mkdir()
    with pytest.raises(OSError):
        save_bytes(tmp_path / 'a', b'content')
    assert os.listdir(tmp_path) == ['a']


def test_files_reach_the_disk_before_their_name(tmp_path, monkeypatch):
    calls = []
    for name in ('fsync', 'replace'):
        real = getattr(os, name)
        monkeypatch.setattr(
            os, name, lambda *a, n=name, f=real: (calls.append(n), f(*a)))
    with whole_file(str(tmp_path / 'a')) as file:
        file.write(b'text')
    assert calls == ['fsync', 'replace', 'fsync']
    assert (tmp_path / 'a').read_bytes() == b'text'


def test_leftovers_of_processes_that_have_ended_are_removed(tmp_path):
    """Also of one whose parent, as that of a container, does not mind it."""
    if not sys.platform.startswith('linux'):
        pytest.skip('needs /proc')
    child = os.fork()
    if not child:
        os._exit(0)
    mine, its = f'a.{os.getpid()}.tmp', f'b.{child}.tmp'
    for name in (mine, its, 'c.txt'):
        (tmp_path / name).write_text('half')
    end = time.monotonic() + 10
    removed = []
    while not removed and time.monotonic() < end:
        removed = remove_leftovers(tmp_path)
    os.waitpid(child, 0)
    assert removed == [its]
    assert sorted(os.listdir(tmp_path)) == [mine, 'c.txt']
