"""Sums on disk: what is written is read, what is cut off is left out."""
import io
import os
import pickle

import numpy as np
import pytest

from mbos.metrics.sums_store import (StoredSums, SumsWriter, append_sums, pack,
                                     read_places, remove_sums, unpack)


def sums_of(i):
    return dict(vessel=dict(counts=np.full((1, 4), i)), odoc=dict(x=i))


def test_written_sums_are_read_by_key(tmp_path):
    folder = str(tmp_path / 'new')
    for rank in (0, 1):
        writer = SumsWriter(f'{folder}/{rank}.sums')
        for i in range(rank, 5, 2):
            writer.add(f'image {i}', sums_of(i))
        writer.close()
    places = read_places(folder)
    assert sorted(places) == [f'image {i}' for i in range(5)]
    stored = StoredSums([places[f'image {i}'] for i in (3, 0, 4)], 'vessel')
    assert len(stored) == 3
    assert [one['counts'][0, 0] for one in stored] == [3, 0, 4]
    assert [one['counts'][0, 0] for one in stored] == [3, 0, 4]  # twice
    assert StoredSums(stored.places)[1]['odoc'] == dict(x=0)


def test_a_record_that_was_cut_off_is_left_out(tmp_path):
    path = str(tmp_path / 'a.sums')
    writer = SumsWriter(path)
    sizes = []
    for i in range(3):
        writer.add(f'{i}', sums_of(i))
        sizes.append(os.path.getsize(path))
    writer.close()
    for size in range(sizes[0], sizes[-1] + 1, 7):
        os.truncate(path, sizes[-1])
        whole = open(path, 'rb').read()
        open(path, 'wb').write(whole[:size])
        whole_records = sum(end <= size for end in sizes)
        assert sorted(read_places(
            str(tmp_path))) == [str(i) for i in range(whole_records)]
        open(path, 'wb').write(whole)
    assert read_places(str(tmp_path / 'missing')) == {}


def test_appended_sums(tmp_path):
    path = str(tmp_path / 'all/new/a.sums')
    places = [append_sums(path, str(i), sums_of(i)) for i in range(3)]
    assert list(read_places(str(tmp_path / 'all/new')).values()) == places
    assert [one['x'] for one in StoredSums(places, 'odoc')] == [0, 1, 2]
    remove_sums(str(tmp_path / 'all/new'))
    assert os.listdir(tmp_path) == []


def test_nested_sums_come_back():
    sums = dict(
        a=dict(x=np.arange(6).reshape(2, 3)[:, ::2], points={}),
        scores={
            0: np.ones((2, 0), np.float16),
            1: np.array([True])
        },
        number=np.float32(0.1),
        undefined=float('nan'))
    found = unpack(pack(sums))
    assert found['a']['points'] == {} and list(found['scores']) == [0, 1]
    assert found['a']['x'].tolist() == [[0, 2], [3, 5]]
    assert found['scores'][0].dtype == np.float16
    assert found['number'] == np.float32(0.1)
    assert np.isnan(found['undefined'])


def test_nothing_but_numbers_is_written():
    with pytest.raises(TypeError, match='a/b: object'):
        pack(dict(a=dict(b=object())))


def test_hostile_and_damaged_sums():
    """No pickle is carried out; anything but an archive is refused."""
    objects = io.BytesIO()
    np.savez(objects, x=np.array([object], dtype=object))
    whole = pack(dict(a=np.arange(100)))
    for content in (objects.getvalue(), pickle.dumps(dict(a=1)), b'',
                    whole[:-30], whole[:40], whole[30:]):
        with pytest.raises(ValueError, match='no whole archive'):
            unpack(content)
