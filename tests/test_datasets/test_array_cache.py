import os
import shutil
import warnings

import numpy as np
import pytest

from mbos.datasets import array_cache
from mbos.datasets.array_cache import ArrayCache, problems_of_cache

ARRAY = np.arange(60, dtype=np.uint8).reshape(5, 4, 3)


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / 'eye.jpg'
    path.write_bytes(b'encoded')
    return str(path)


@pytest.fixture
def cache(tmp_path):
    return ArrayCache(str(tmp_path / 'kept'))


def not_called():
    raise AssertionError('decoded again')


def test_decodes_once(cache, photo):
    cold = cache.get(photo, lambda: ARRAY)
    warm = ArrayCache(cache.folder).get(photo, not_called)
    assert (cold == ARRAY).all() and (warm == ARRAY).all()
    assert warm.dtype == ARRAY.dtype and not warm.flags.writeable
    assert os.path.exists(cache.entry(photo))


def test_another_path_is_another_entry(cache, photo, tmp_path):
    other = tmp_path / 'other.jpg'
    shutil.copy2(photo, other)
    cache.get(photo, lambda: ARRAY)
    assert (cache.get(str(other), lambda: ARRAY + 1) == ARRAY + 1).all()


def test_relative_paths_are_the_same_files(cache, photo, monkeypatch):
    cache.get(photo, lambda: ARRAY)
    monkeypatch.chdir(os.path.dirname(photo))
    assert (cache.get('eye.jpg', not_called) == ARRAY).all()


@pytest.mark.parametrize('change', ['size', 'time'])
def test_changed_file_replaces_its_entry(cache, photo, change):
    cache.get(photo, lambda: ARRAY)
    if change == 'size':
        status = os.stat(photo)
        with open(photo, 'ab') as file:
            file.write(b'more')
        os.utime(photo, ns=(status.st_atime_ns, status.st_mtime_ns))
    else:
        os.utime(photo, ns=(1, 1))
    assert not os.path.exists(cache.entry(photo))
    assert (cache.get(photo, lambda: ARRAY + 1) == ARRAY + 1).all()
    assert (cache.get(photo, not_called) == ARRAY + 1).all()
    assert len(os.listdir(cache.folder)) == 1


@pytest.mark.parametrize('content', [b'', b'\x93NUMPY', None])
def test_damaged_entry_is_made_again(cache, photo, content):
    cache.get(photo, lambda: ARRAY)
    entry = cache.entry(photo)
    with open(entry, 'rb') as file:
        whole = file.read()
    with open(entry, 'wb') as file:
        file.write(whole[:-7] if content is None else content)
    assert (cache.get(photo, lambda: ARRAY) == ARRAY).all()
    assert (cache.get(photo, not_called) == ARRAY).all()


def fail(*args, **kwargs):
    raise OSError(28, 'No space left on device')


def test_goes_on_when_the_disk_is_full(cache, photo, monkeypatch):

    def half_written(file, array):
        file.write(b'half')
        fail()

    monkeypatch.setattr(array_cache.np, 'save', half_written)
    with pytest.warns(UserWarning, match='No space left.*another folder'):
        found = cache.get(photo, lambda: ARRAY)
    assert (found == ARRAY).all()
    assert os.listdir(cache.folder) == []
    with warnings.catch_warnings():  # said once
        warnings.simplefilter('error')
        assert (cache.get(photo, lambda: ARRAY) == ARRAY).all()


def set_free(monkeypatch, free):
    usage = shutil.disk_usage('.')._replace(free=free)
    monkeypatch.setattr(array_cache.shutil, 'disk_usage', lambda _: usage)


def test_leaves_a_reserve(cache, photo, monkeypatch):
    set_free(monkeypatch, array_cache.RESERVE + 59)
    with pytest.warns(UserWarning, match='1.1 GB of the disk are free'):
        cache.get(photo, lambda: ARRAY)
    assert os.listdir(cache.folder) == []


def test_problems_before_training(cache, photo, monkeypatch, tmp_path):
    set_free(monkeypatch, array_cache.RESERVE + 10**9)
    sizes = {photo: 3 * 10**9, str(tmp_path / 'missing.png'): 10**12}
    problem, = problems_of_cache(cache.folder, sizes)
    assert '3.0 GB more' in problem and 'only 1.0 GB' in problem
    assert cache.folder in problem and 'leave cache_dir out' in problem
    cache.get(photo, lambda: ARRAY)  # what is there needs no more room
    assert problems_of_cache(cache.folder, sizes) == []
    problem, = problems_of_cache(os.path.join(photo, 'kept'), {})
    assert 'cannot be made' in problem and 'cache_dir' in problem
