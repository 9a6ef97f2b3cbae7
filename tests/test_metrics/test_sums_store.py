"""Sums on disk: what is written is read, nothing else."""
import io
import os
import pickle

import numpy as np
import pytest

from mbos.metrics.sums_store import StoredSums, remove_sums, save_sums


def sums_of(i):
    return dict(vessel=dict(counts=np.full(4, i)), odoc=dict(x=i))


def test_written_sums_are_read(tmp_path):
    paths = [str(tmp_path / f'all/new/{i}.npz') for i in range(5)]
    for i, path in enumerate(paths):
        save_sums(path, sums_of(i))
    stored = StoredSums([paths[i] for i in (3, 0, 4)], 'vessel')
    assert [one['counts'].tolist()
            for one in stored] == [4 * [3], 4 * [0], 4 * [4]]
    assert StoredSums(stored.paths, 'odoc')[1] == dict(x=0)
    remove_sums(str(tmp_path / 'all/new'))
    assert os.listdir(tmp_path) == []


def test_damaged_and_hostile_files(tmp_path):
    """No pickle is carried out; anything but a whole archive is refused."""
    path = tmp_path / 'a.npz'
    save_sums(str(path), sums_of(1))
    whole = path.read_bytes()
    place = whole.index(np.full(4, 1).tobytes())
    objects = io.BytesIO()
    np.savez(objects, **{'vessel/x': np.array([object], dtype=object)})
    for content in (whole[:-1], whole[:place] + b'\x02' + whole[place + 1:],
                    objects.getvalue(), pickle.dumps(dict(a=1)), b''):
        path.write_bytes(content)
        with pytest.raises(ValueError, match='a.npz: no whole archive'):
            StoredSums([str(path)], 'vessel')[0]
