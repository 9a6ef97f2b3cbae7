import os
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest

from mbos.datasets import array_cache
from mbos.datasets.array_cache import ArrayCache

ARRAY = np.arange(60, dtype=np.uint8).reshape(5, 4, 3)


@pytest.fixture
def photo(tmp_path):
    (tmp_path / 'eye.jpg').write_bytes(b'encoded')
    return str(tmp_path / 'eye.jpg')


@pytest.fixture
def cache(tmp_path):
    return ArrayCache(str(tmp_path / 'kept'))


def get(cache, path, array=None):
    """What the cache has of a file; None: it must not be decoded."""

    def decode(path):
        assert array is not None, 'decoded again'
        return array

    return cache.get(path, decode)


def test_decodes_once(cache, photo, tmp_path, monkeypatch):
    assert (get(cache, photo, ARRAY) == ARRAY).all()
    warm = get(ArrayCache(cache.folder), photo)
    assert (warm == ARRAY).all()
    assert warm.dtype == ARRAY.dtype and not warm.flags.writeable
    monkeypatch.chdir(tmp_path)
    assert (get(cache, 'eye.jpg') == ARRAY).all()
    shutil.copy2(photo, tmp_path / 'other.jpg')
    assert (get(cache, 'other.jpg', ARRAY + 1) == ARRAY + 1).all()


@pytest.mark.parametrize('change', ['size', 'time'])
def test_changed_file_replaces_its_entry(cache, photo, change):
    get(cache, photo, ARRAY)
    time = os.stat(photo).st_mtime_ns
    if change == 'size':
        Path(photo).write_bytes(b'encoded anew')
    os.utime(photo, ns=(time, 1 if change == 'time' else time))
    assert (get(cache, photo, ARRAY + 1) == ARRAY + 1).all()
    assert (get(cache, photo) == ARRAY + 1).all()
    assert len(os.listdir(cache.folder)) == 1


@pytest.mark.parametrize('length', [0, 6, -7])
def test_damaged_entry_is_made_again(cache, photo, length):
    get(cache, photo, ARRAY)
    entry, = Path(cache.folder).iterdir()
    entry.write_bytes(entry.read_bytes()[:length])
    assert (get(cache, photo, ARRAY) == ARRAY).all()
    assert (get(cache, photo) == ARRAY).all()


def test_goes_on_when_the_disk_is_full(cache, photo, monkeypatch):
    usage = shutil.disk_usage('.')._replace(free=array_cache.RESERVE + 59)
    monkeypatch.setattr(array_cache.shutil, 'disk_usage', lambda _: usage)
    with pytest.warns(UserWarning, match='1.1 GB of the disk are free'):
        assert (get(cache, photo, ARRAY) == ARRAY).all()
    assert os.listdir(cache.folder) == []
    with warnings.catch_warnings():  # said once
        warnings.simplefilter('error')
        assert (get(cache, photo, ARRAY) == ARRAY).all()
