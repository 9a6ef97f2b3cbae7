"""Sums on disk: what is written is read, what is cut off is left out."""
import os

import numpy as np

from mbos.metrics.sums_store import (StoredSums, SumsWriter, append_sums,
                                     read_places, remove_sums)


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
