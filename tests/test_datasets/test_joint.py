import itertools
import random
import zlib

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset

from mbos.datasets import DataError, JointDataset
from mbos.datasets.checks import check_pixels
from mbos.datasets.loader import InfiniteIndexSampler
from mbos.tasks import build_tasks
from tests.test_datasets.conftest import NORMALIZE, train_loader

SIZE = (32, 32)
STRONG = [
    dict(type='LoadRandomCrop', img_scale=(56, 56), ratio_range=(0.5, 2.0),
         crop_size=SIZE),
    dict(type='ColorJitter'), dict(type='CutOut'), NORMALIZE,
    dict(type='Pad', size=SIZE, pad_val=0, seg_pad_val=255),
    dict(type='FormatPlanes')
]  # yapf: disable


class Numbers(Dataset):
    """Stands for a member: yields its index and three random numbers."""

    truth = {}

    def __init__(self, name, length, tasks=('vessel', )):
        self.name = name
        self.length = length
        self.tasks = build_tasks(tasks)

    def __len__(self):
        return self.length

    def __getitem__(self, index):
        return (index, random.random(), np.random.rand(), torch.rand(1).item())


def items_of(members, count, seed=1):
    joint = JointDataset(members, seed=seed)
    return [joint[i] for i in range(count)]


def assert_all_differ(items):
    draws = [number for item in items for m in item for number in m[1:]]
    assert len(set(draws)) == len(draws)


def test_order_follows_the_documented_rule():
    joint = JointDataset([Numbers('a', 10), Numbers('b', 3)], seed=3)
    assert len(joint) == 10
    key = zlib.crc32(b'a#0')
    for cycle in (0, 4):
        order = np.random.Generator(np.random.PCG64([3, key, cycle]))
        found = [joint[10 * cycle + i][0][0] for i in range(10)]
        assert found == order.permutation(10).tolist()


def test_an_index_always_means_the_same():
    members = [Numbers('a', 4), Numbers('b', 5), Numbers('a', 4)]
    walked = items_of(members, 30)
    again = JointDataset(members, seed=1)
    for i in (29, 3, 17, 3, 0):
        assert again[i] == walked[i]
    # neither the seed nor the twin of the same name gives the same stream
    assert items_of(members, 30, seed=2) != walked
    assert [w[0] for w in walked] != [w[2] for w in walked]
    assert_all_differ(walked)
    # the order of members means nothing
    swapped = items_of([members[1], members[0]], 30)
    assert swapped == [[b, a] for a, b, _ in walked]


def test_members_that_take_turns():
    """b and c share a place: even items show b, odd ones c, all images."""
    a, b, c = Numbers('a', 4), Numbers('b', 3), Numbers('c', 5)
    items = items_of([a, [b, c]], 30)
    assert {len(item) for item in items} == {2}
    shown = [item[1][0] for item in items]
    for start in range(0, 15, 3):
        assert sorted(shown[0::2][start:start + 3]) == [0, 1, 2]
    for start in range(0, 15, 5):
        assert sorted(shown[1::2][start:start + 5]) == list(range(5))
    assert_all_differ(items)
    # a goes its own way, whoever is beside it
    assert [item[:1] for item in items] == items_of([a], 30)
    # until the longest has been seen once
    assert len(JointDataset([a, [b, c]])) == 10


def test_surrounding_random_state_is_untouched():
    joint = JointDataset([Numbers('a', 4)], seed=1)
    draws = []
    for use in (lambda: joint[2], lambda: None):
        for seed in (random.seed, np.random.seed, torch.manual_seed):
            seed(0)
        use()
        draws.append((random.random(), np.random.rand(), torch.rand(1)))
    assert draws[0] == draws[1]


@pytest.mark.parametrize('members, expected', [
    ([], 'at least one member'),
    ([Numbers('a', 2), []], 'at least one member'),
    ([Numbers('a', 2), Numbers('b', 2, tasks=('lesion', ))], 'same tasks'),
])
def test_wrong_members(members, expected):
    with pytest.raises(ValueError, match=expected):
        JointDataset(members)


@pytest.mark.parametrize('entries, learnt', [
    ((['HE', 'EX'], None), ('EX', 'HE')),
    ((['HE', 'EX'], ['MA']), ('EX', 'HE', 'MA')),
    ((['HE', 'EX'], ['EX', 'HE', 'SE', 'MA']), None),
    ((None, None), None),
])
def test_planes_name_the_classes_that_have_truth(make, entries, learnt):
    """Only of tasks of which some classes have it, and some have not."""
    given = [dict(lesion=dict(path='ann', classes=c)) if c else {}
             for c in entries]  # yapf: disable
    for sample in JointDataset([make(ann_dirs=g) for g in given])[0]:
        planes = sample['img_metas'].data['planes']
        assert planes.pop('lesion').get('learnt') == learnt
        assert not any('learnt' in plane for plane in planes.values())


def test_sampler_deals_all_indices_once():
    first, _, last = (
        list(itertools.islice(InfiniteIndexSampler(rank, 3, 0, 2), 8))
        for rank in range(3))
    assert first == [0, 1, 6, 7, 12, 13, 18, 19]
    assert last == [4, 5, 10, 11, 16, 17, 22, 23]
    resumed = InfiniteIndexSampler(2, 3, 2, 2)
    assert list(itertools.islice(resumed, 4)) == last[4:]


@pytest.fixture
def members(make):
    """A labelled and a pseudo-labelled member, as stage 2 joins them."""
    labelled = make(pipeline=STRONG, pseudo_dirs={}, weights={})
    return [labelled, make(pipeline=STRONG, ann_dirs={})]


def batches(joint, workers, count=3, **kwargs):
    loader = train_loader(joint, 2, workers, 11, **kwargs)
    found = list(itertools.islice(loader, count))
    return [(b['img'].data[0], b['labels'].data[0],
             [(m['filename'], m['planes']) for m in b['img_metas'].data[0]])
            for b in found]


def assert_same(first, second):
    for a, b in zip(first, second, strict=True):
        assert torch.equal(a[0], b[0]) and torch.equal(a[1], b[1])
        assert a[2] == b[2]


def test_loader_depends_on_nothing_but_the_seed(members):
    joint = JointDataset(members)
    torch.manual_seed(0)
    alone = batches(joint, 0)
    dropout = torch.rand(1)
    assert alone[0][0].shape == (4, 3, 32, 32)
    assert alone[0][1].shape == (4, 3, 32, 32)
    kinds = [planes['lesion']['kind'] for _, planes in alone[0][2]]
    assert kinds == ['truth', 'absent', 'truth', 'absent']
    assert alone[0][2][1][1]['vessel'] == dict(kind='pseudo', weight=2.0)
    torch.manual_seed(0)
    assert_same(alone, batches(joint, 2))
    assert torch.rand(1) == dropout
    assert_same(alone[1:], batches(joint, 0, 2, start=1))


def test_cache_changes_nothing(members, tmp_path):
    kept = tmp_path / 'kept'
    alone = batches(JointDataset(members), 0, 5)
    cached = JointDataset(members, cache_dir=str(kept))
    assert_same(alone, batches(cached, 2, 5))
    # five images, and two planes of each
    assert len(list(kept.iterdir())) == 15
    assert_same(alone, batches(cached, 0, 5))


def test_problems_of_all_members_are_named_once(members, root):
    (root / 'images/eye_1.png').write_bytes(b'no image')
    with pytest.raises(DataError, match='^1 .*\n.*eye_1.png: is not a pict'):
        check_pixels([JointDataset(members)])
