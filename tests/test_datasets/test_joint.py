import itertools
import random
import zlib

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset

from mbos.datasets import (DataError, InfiniteIndexSampler, JointDataset,
                           build_train_loader)
from mbos.tasks import build_tasks

STRONG = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadPlanes'),
    dict(type='Resize', img_scale=(56, 56), ratio_range=(0.5, 2.0)),
    dict(type='RandomCrop', crop_size=(32, 32)),
    dict(type='IndependentFlip'),
    dict(type='ColorJitter'),
    dict(type='RandomGrayscale'),
    dict(type='RandomGaussianBlur'),
    dict(type='CutOut'),
    dict(type='Normalize', mean=(9., 9., 9.), std=(3., 3., 3.), to_rgb=True),
    dict(type='Pad', size=(32, 32), pad_val=0, seg_pad_val=255),
    dict(type='FormatPlanes'),
]


class Numbers(Dataset):
    """Stands for a member: yields its index and three random numbers."""

    CLASSES = ('vessel.vessel', )
    PALETTE = [[0, 0, 0]]
    truth = {}

    def __init__(self, name, length, tasks=('vessel', )):
        self.name = name
        self.length = length
        self.tasks = build_tasks(tasks)

    def __len__(self):
        return self.length

    def __getitem__(self, index):
        return (index, random.random(), np.random.rand(), torch.rand(1).item())


def test_planes_name_the_classes_that_have_truth(make):
    """Only of tasks of which some classes have it, and some have not."""

    def learnt(*entries):
        members = [
            make(ann_dirs=dict(lesion=entry)) if entry else make(ann_dirs={})
            for entry in entries
        ]
        joint = JointDataset(members)
        samples = [s['img_metas'].data['planes'] for s in joint[0]]
        assert not any('learnt' in planes[task] for planes in samples
                       for task in ('vessel', 'odoc'))
        return [planes['lesion'].get('learnt') for planes in samples]

    some = dict(path='ann', classes=['HE', 'EX'])
    other = dict(path='ann', classes=['MA'])
    assert learnt(some, None) == [('EX', 'HE')] * 2
    assert learnt(some, other) == [('EX', 'HE', 'MA')] * 2
    assert learnt(some, 'ann') == learnt(None, None) == [None] * 2


def test_every_image_once_per_cycle():
    joint = JointDataset([Numbers('a', 3), Numbers('b', 7)], seed=5)
    items = [joint[i] for i in range(21)]
    for cycle in range(7):
        seen = [items[3 * cycle + i][0][0] for i in range(3)]
        assert sorted(seen) == [0, 1, 2]
    for cycle in range(3):
        seen = [items[7 * cycle + i][1][0] for i in range(7)]
        assert sorted(seen) == list(range(7))
    assert len(joint) == 7
    assert len(JointDataset([Numbers('a', 3)], length=100)) == 100
    assert len(list(joint)) == 7


def test_order_follows_the_documented_rule():
    joint = JointDataset([Numbers('a', 10)], seed=3)
    key = zlib.crc32(b'a#0')
    for cycle in (0, 4):
        order = np.random.Generator(np.random.PCG64([3, key,
                                                     cycle])).permutation(10)
        found = [joint[10 * cycle + i][0][0] for i in range(10)]
        assert found == order.tolist()


def test_an_index_always_means_the_same():
    members = [Numbers('a', 4), Numbers('b', 5), Numbers('a', 4)]
    joint = JointDataset(members, seed=1)
    walked = [joint[i] for i in range(30)]
    again = JointDataset(members, seed=1)
    for i in (29, 3, 17, 3, 0):
        assert again[i] == walked[i]
    # neither the seed nor the twin of the same name gives the same stream
    other = JointDataset(members, seed=2)
    assert [other[i] for i in range(30)] != walked
    assert [w[0] for w in walked] != [w[2] for w in walked]
    draws = [number for w in walked for m in w for number in m[1:]]
    assert len(set(draws)) == len(draws)


def test_order_of_members_means_nothing():
    first = JointDataset([Numbers('a', 4), Numbers('b', 5)], seed=1)
    second = JointDataset([Numbers('b', 5), Numbers('a', 4)], seed=1)
    for i in range(10):
        assert first[i] == second[i][::-1]


def test_members_that_take_turns():
    """b and c share a place: even items show b, odd ones c, all images."""
    a, b, c = Numbers('a', 4), Numbers('b', 3), Numbers('c', 5)
    joint = JointDataset([a, [b, c]], seed=1)
    items = [joint[i] for i in range(30)]
    assert {len(item) for item in items} == {2}
    shown = [item[1][0] for item in items]
    for start in range(0, 15, 3):
        assert sorted(shown[0::2][start:start + 3]) == [0, 1, 2]
    for start in range(0, 15, 5):
        assert sorted(shown[1::2][start:start + 5]) == list(range(5))
    draws = [number for item in items for m in item for number in m[1:]]
    assert len(set(draws)) == len(draws)
    # a goes its own way, whoever is beside it
    assert [item[0] for item in items] == [
        item[0] for item in (JointDataset([a], seed=1)[i] for i in range(30))
    ]
    # until the longest has been seen once
    assert len(joint) == 10
    with pytest.raises(ValueError, match='at least one member'):
        JointDataset([a, []])


def test_surrounding_random_state_is_untouched():
    joint = JointDataset([Numbers('a', 4)], seed=1)

    def draw(touch):
        random.seed(0)
        np.random.seed(0)
        torch.manual_seed(0)
        if touch:
            joint[2]
        return random.random(), np.random.rand(), torch.rand(1).item()

    assert draw(True) == draw(False)


def test_wrong_members():
    with pytest.raises(ValueError, match='at least one member'):
        JointDataset([])
    with pytest.raises(ValueError, match='same tasks'):
        JointDataset(
            [Numbers('a', 2),
             Numbers('b', 2, tasks=('vessel', 'lesion'))])
    with pytest.raises(DataError, match='has no image'):
        JointDataset([Numbers('a', 0)])
    with pytest.raises(IndexError, match='at least 0'):
        JointDataset([Numbers('a', 2)])[-1]
    with pytest.raises(ValueError, match='seed of at least 0'):
        JointDataset([Numbers('a', 2)], seed=-1)


def test_sampler_deals_all_indices_once():
    streams = [
        list(
            itertools.islice(
                InfiniteIndexSampler(rank, 3, samples_per_gpu=2), 8))
        for rank in range(3)
    ]
    assert streams[0] == [0, 1, 6, 7, 12, 13, 18, 19]
    assert streams[2] == [4, 5, 10, 11, 16, 17, 22, 23]
    assert sorted(sum(streams, [])) == list(range(24))
    resumed = InfiniteIndexSampler(2, 3, start=2, samples_per_gpu=2)
    assert list(itertools.islice(resumed, 4)) == streams[2][4:]
    plain = InfiniteIndexSampler(1, 4)
    assert list(itertools.islice(plain, 3)) == [1, 5, 9]
    with pytest.raises(ValueError, match='rank in 0..1'):
        InfiniteIndexSampler(2, 2)


@pytest.fixture
def joint(make):
    """A labelled and a pseudo-labelled member, as stage 2 joins them."""
    return JointDataset([
        make(pipeline=STRONG, pseudo_dirs={}, weights={}),
        make(pipeline=STRONG, ann_dirs={}),
    ])


def batches(joint, workers, count=3, **kwargs):
    loader = build_train_loader(
        joint, 2, workers, seed=11, rank=0, world_size=1, **kwargs)
    found = list(itertools.islice(loader, count))
    return [(b['img'].data[0], b['labels'].data[0],
             [(m['filename'], m['planes']) for m in b['img_metas'].data[0]])
            for b in found]


def assert_same(first, second):
    assert len(first) == len(second)
    for a, b in zip(first, second):
        assert torch.equal(a[0], b[0]) and torch.equal(a[1], b[1])
        assert a[2] == b[2]


def test_loader_does_not_depend_on_workers(joint):
    alone = batches(joint, 0)
    assert alone[0][0].shape == (4, 3, 32, 32)
    assert alone[0][1].shape == (4, 3, 32, 32)
    kinds = [planes['lesion']['kind'] for _, planes in alone[0][2]]
    assert kinds == ['truth', 'absent', 'truth', 'absent']
    assert alone[0][2][1][1]['vessel'] == dict(kind='pseudo', weight=2.0)
    assert_same(alone, batches(joint, 2))
    assert_same(alone[1:], batches(joint, 0, 2, start=1))


def test_loader_leaves_the_generator_of_dropout_alone(joint):
    states = []
    for workers in (0, 2):
        torch.manual_seed(0)
        batches(joint, workers, 1)
        states.append(torch.rand(1).item())
    assert states[0] == states[1]


def test_joint_check_sees_all_members(make, root, manifest_writer):
    other = root / 'pseudo_odoc'
    other.mkdir()
    for path in (root / 'pseudo').glob('*.png'):
        (other / path.name).write_bytes(path.read_bytes())
    manifest_writer(other, task='odoc', checkpoint_sha256='1' * 64)
    joint = JointDataset([
        make(),
        make(pseudo_dirs=dict(odoc='pseudo_odoc'), weights={}),
    ])
    with pytest.raises(DataError, match='their sha256 differ') as error:
        joint.check()
    assert len(error.value.problems) == 1
