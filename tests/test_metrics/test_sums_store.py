"""Sums on disk: what is written is read, what is cut off is left out."""
import io
import os
import pickle
import zlib

import numpy as np
import pytest

from mbos.metrics.sums_store import (StoredSums, find_sums, remove_sums,
                                     save_sums)


def sums_of(i):
    return dict(vessel=dict(counts=np.full((1, 4), i)), odoc=dict(x=i))


def test_written_sums_are_read_by_key(tmp_path):
    folder = str(tmp_path / 'all/new')
    assert find_sums(folder) == {}
    written = [save_sums(folder, f'image-{i}', sums_of(i)) for i in range(5)]
    found = find_sums(folder)
    assert found == {f'image-{i}': path for i, path in enumerate(written)}
    stored = StoredSums([found[f'image-{i}'] for i in (3, 0, 4)], 'vessel')
    assert len(stored) == 3
    for _ in range(2):
        assert [one['counts'][0, 0] for one in stored] == [3, 0, 4]
    assert StoredSums(stored.paths, 'odoc')[1] == dict(x=0)
    remove_sums(folder)
    assert os.listdir(tmp_path) == []


def test_what_was_cut_off_or_changed_is_not_used(tmp_path):
    path = save_sums(str(tmp_path), 'a', sums_of(1))
    with open(path, 'rb') as file:
        whole = file.read()
    # as a process leaves it that was killed
    with open(f'{path}.99999999.tmp', 'wb') as file:
        file.write(whole[:40])
    assert find_sums(str(tmp_path)) == dict(a=path)
    for content in (whole[:-1], b'', whole[:60] + b'x' + whole[61:]):
        with open(path, 'wb') as file:
            file.write(content)
        with pytest.raises(ValueError, match='a-.*remove the folder'):
            StoredSums([path], 'odoc')[0]


def test_hostile_sums(tmp_path):
    """No pickle is carried out; anything but an archive is refused."""
    objects = io.BytesIO()
    np.savez(objects, **{'odoc/x': np.array([object], dtype=object)})
    for content in (objects.getvalue(), pickle.dumps(dict(a=1)), b''):
        path = tmp_path / f'a-{zlib.crc32(content):08x}.npz'
        path.write_bytes(content)
        with pytest.raises(ValueError, match='no whole archive'):
            StoredSums([str(path)], 'odoc')[0]
