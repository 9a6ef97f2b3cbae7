import json
import os
import subprocess

import numpy as np
import pytest
from PIL import Image

from mbos.io.files import (remove_leftovers, save_bytes, save_image, save_json,
                           save_text, save_whole)

PICTURE = np.full((4, 6, 3), (200, 0, 0), np.uint8)


def test_content_and_folder(tmp_path):
    path = tmp_path / 'new' / 'figures.json'
    save_json(path,
              dict(a=[1, float('nan')], b=(float('inf'), 2.5), c=dict(d=None)))
    assert json.loads(path.read_text()) == dict(
        a=[1, None], b=[None, 2.5], c=dict(d=None))
    assert os.listdir(path.parent) == ['figures.json']


@pytest.mark.parametrize('name, image', [('a.png', PICTURE),
                                         ('A.JPG', PICTURE),
                                         ('a.tif', PICTURE[..., 0])])
def test_images_by_suffix(tmp_path, name, image):
    save_image(tmp_path / name, image)
    with Image.open(tmp_path / name) as found:
        np.testing.assert_allclose(
            np.array(found).astype(int), image.astype(int), atol=2)
    for wrong in ('a.nonsense', 'a', 'a.pcd'):
        with pytest.raises(ValueError, match='use .jpg'):
            save_image(tmp_path / wrong, image)
    assert os.listdir(tmp_path) == [name]


@pytest.mark.parametrize('fail', [
    lambda path: save_whole(path, lambda file: 1 / 0),
    lambda path: save_json(path, dict(a=object())),
    lambda path: save_text(path, '\ud800'),
    lambda path: save_image(path, PICTURE, quality='nonsense'),
    lambda path: save_bytes(path.parent, b'in place of a folder')
])
def test_failure_leaves_the_file_as_it_was(tmp_path, fail):
    path = tmp_path / 'folder/a.jpg'
    save_bytes(path, b'before')
    with pytest.raises(Exception):
        fail(path)
    assert path.read_bytes() == b'before'
    assert os.listdir(path.parent) == ['a.jpg']
    assert os.listdir(tmp_path) == ['folder']


def test_files_reach_the_disk_before_their_name(tmp_path, monkeypatch):
    calls = []
    for name in ('fsync', 'replace'):
        real = getattr(os, name)
        monkeypatch.setattr(
            os, name, lambda *a, n=name, f=real: (calls.append(n), f(*a)))
    save_text(tmp_path / 'a', 'text')
    assert calls == ['fsync', 'replace', 'fsync']
    assert (tmp_path / 'a').read_bytes() == b'text'


def test_leftovers_of_processes_that_have_ended_are_removed(tmp_path):
    child = subprocess.Popen(['true'])
    child.wait()
    mine, its = f'a.{os.getpid()}.tmp', f'b.{child.pid}.tmp'
    for name in (mine, its, 'c.txt'):
        (tmp_path / name).write_text('half')
    for folder in ('.', 'missing'):
        remove_leftovers(tmp_path / folder)
    assert sorted(os.listdir(tmp_path)) == [mine, 'c.txt']
