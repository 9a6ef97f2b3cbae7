import torch
from mmcv.parallel import DataContainer, MMDataParallel
from torch import nn

from mbos.datasets import collate_samples


def sample(height, value, planes=2):
    return dict(
        img=DataContainer(torch.full((3, height, 4), float(value)), True),
        labels=DataContainer(
            torch.full((planes, height, 4), value, dtype=torch.uint8), True),
        img_metas=DataContainer(dict(dataset=str(value)), cpu_only=True))


class Echo(nn.Module):
    """Gives back what MMDataParallel hands over."""

    def train_step(self, data, optimizer):
        return data


def unpack(batch):
    wrapped = MMDataParallel(Echo(), device_ids=[-1])
    wrapped.device_ids = []  # as on a machine without GPU
    return wrapped.train_step(batch, None)


def test_joint_items_are_flattened_in_order():
    batch = collate_samples([[sample(5, 1), sample(5, 2)],
                             [sample(5, 3), sample(5, 4)]])
    data = unpack(batch)
    assert data['img'].shape == (4, 3, 5, 4)
    assert data['img'][:, 0, 0, 0].tolist() == [1, 2, 3, 4]
    assert data['labels'].shape == (4, 2, 5, 4)
    assert data['labels'].dtype == torch.uint8
    assert [m['dataset'] for m in data['img_metas']] == list('1234')


def test_unequal_sizes_stay_apart():
    data = unpack(collate_samples([[sample(5, 1), sample(6, 2)]]))
    assert [tuple(t.shape) for t in data['img']] == [(3, 5, 4), (3, 6, 4)]
    assert [tuple(t.shape) for t in data['labels']] == [(2, 5, 4), (2, 6, 4)]
    assert len(data['img_metas']) == 2


def test_plain_samples():
    data = unpack(collate_samples([sample(5, 1), sample(5, 2)]))
    assert data['img'].shape == (2, 3, 5, 4)
