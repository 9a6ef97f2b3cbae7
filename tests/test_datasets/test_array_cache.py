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
    path = tmp_path / 'eye.jpg'
    path.write_bytes(b'encoded')
    return str(path)


@pytest.fixture
def cache(tmp_path):
    return ArrayCache(str(tmp_path / 'kept'))


def array(path):
    return ARRAY


def other_array(path):
    return ARRAY + 1


def not_called(path):
    raise AssertionError('decoded again')


def test_decodes_once(cache, photo, tmp_path, monkeypatch):
    assert (cache.get(photo, array) == ARRAY).all()
    warm = ArrayCache(cache.folder).get(photo, not_called)
    assert (warm == ARRAY).all()
    assert warm.dtype == ARRAY.dtype and not warm.flags.writeable
    monkeypatch.chdir(tmp_path)
    assert (cache.get('eye.jpg', not_called) == ARRAY).all()
    shutil.copy2(photo, tmp_path / 'other.jpg')
    assert (cache.get('other.jpg', other_array) == ARRAY + 1).all()


@pytest.mark.parametrize('change', ['size', 'time'])
def test_changed_file_replaces_its_entry(cache, photo, change):
    cache.get(photo, array)
    status = os.stat(photo)
    if change == 'size':
        with open(photo, 'ab') as file:
            file.write(b'more')
    times = (1, 1) if change == 'time' else (status.st_atime_ns,
                                             status.st_mtime_ns)
    os.utime(photo, ns=times)
    assert (cache.get(photo, other_array) == ARRAY + 1).all()
    assert (cache.get(photo, not_called) == ARRAY + 1).all()
    assert len(os.listdir(cache.folder)) == 1


@pytest.mark.parametrize('content', [b'', b'\x93NUMPY', None])
def test_damaged_entry_is_made_again(cache, photo, content):
    cache.get(photo, array)
    entry, = Path(cache.folder).iterdir()
    whole = entry.read_bytes()
    entry.write_bytes(whole[:-7] if content is None else content)
    assert (cache.get(photo, array) == ARRAY).all()
    assert (cache.get(photo, not_called) == ARRAY).all()


def half_written(file, content):
    file.write(b'half')
    raise OSError(28, 'No space left on device')


def no_space(monkeypatch):
    usage = shutil.disk_usage('.')._replace(free=array_cache.RESERVE + 59)
    monkeypatch.setattr(array_cache.shutil, 'disk_usage', lambda _: usage)


@pytest.mark.parametrize('fill, message', [
    (lambda patch: patch.setattr(array_cache.np, 'save', half_written),
     'No space left.*another folder'),
    (no_space, '1.1 GB of the disk are free'),
])
def test_goes_on_when_the_disk_is_full(cache, photo, monkeypatch, fill,
                                       message):
    fill(monkeypatch)
    with pytest.warns(UserWarning, match=message):
        assert (cache.get(photo, array) == ARRAY).all()
    assert os.listdir(cache.folder) == []
    with warnings.catch_warnings():  # said once
        warnings.simplefilter('error')
        assert (cache.get(photo, array) == ARRAY).all()
