import torch
from mmcv.parallel import DataContainer, MMDataParallel
from torch import nn
from torch.utils.data._utils.pin_memory import pin_memory

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


def test_batches_can_be_pinned(monkeypatch):
    """As the DataLoader does it, which passes over mmcv's own container."""
    pinned = []

    def pin(tensor, *_):
        pinned.append(tensor.data_ptr())
        return tensor.clone()

    monkeypatch.setattr(torch.Tensor, 'pin_memory', pin)
    same = collate_samples([sample(5, 1), sample(5, 2)])
    sizes = collate_samples([sample(5, 1), sample(6, 2)])
    for batch, tensors in ((same, 2), (sizes, 4)):
        pinned.clear()
        found = pin_memory(batch)
        assert len(pinned) == tensors
        assert found['img'].stack == batch['img'].stack
        assert found['img_metas'].data == batch['img_metas'].data
        for a, b in zip(unpacked(found), unpacked(batch)):
            assert torch.equal(a, b) and a.data_ptr() != b.data_ptr()


def unpacked(batch):
    for key in ('img', 'labels'):
        tensors = unpack(batch)[key]
        yield from tensors if isinstance(tensors, list) else [tensors]
