"""Batches, and what the loaders of training and testing are built with."""
import cv2
import pytest
import torch
from mmcv import ConfigDict
from mmcv.parallel import DataContainer, MMDataParallel
from torch import nn
from torch.utils.data import Dataset
from torch.utils.data._utils.pin_memory import pin_memory

from mbos.datasets.loader import (build_test_loader, build_train_loader,
                                  collate_samples)
from mbos.runtime.environment import Environment

CPU = Environment(torch.device('cpu'))
CFG = ConfigDict(seed=3, data=dict(samples_per_gpu=2, workers_per_gpu=2))


class Threads(Dataset):
    """Holds with how many threads a worker computes."""

    def __len__(self):
        return 2

    def __getitem__(self, index):
        return torch.tensor([cv2.getNumThreads(), torch.get_num_threads()])


def test_loaders_follow_device_and_config():
    for env in (CPU, Environment(torch.device('cuda'))):
        training = build_train_loader(Threads(), CFG, env)
        testing = build_test_loader(Threads(), CFG, env)
        assert testing.pin_memory is training.pin_memory is (env is not CPU)
        assert training.persistent_workers and testing.num_workers == 2
    cfg = ConfigDict(data=dict(CFG.data, test_workers=0))
    assert build_test_loader(Threads(), cfg, CPU).num_workers == 0


def test_workers_of_tests_leave_the_cores_to_each_other():
    found = torch.stack(list(build_test_loader(Threads(), CFG, CPU)))
    # OpenCV says 1 for "no threads beside this one"
    assert found.max() == 1


def sample(height):
    image = torch.ones((3, height, 4))
    return dict(
        img=DataContainer(image, True),
        labels=DataContainer(image[:2].to(torch.uint8), True),
        img_metas=DataContainer(dict(height=height), cpu_only=True))


class Echo(nn.Module):
    """Gives back what MMDataParallel hands over."""

    def train_step(self, data, optimizer):
        return data


@pytest.mark.parametrize('heights, tensors', [((5, 5), 2), ((5, 6), 4)])
def test_batches_can_be_pinned(monkeypatch, heights, tensors):
    """As the DataLoader does it, which passes over mmcv's own container.
    Unequal sizes stay apart."""
    pin, pinned = torch.Tensor.add, []
    monkeypatch.setattr(torch.Tensor, 'pin_memory',
                        lambda t, *_: pinned.append(t) or pin(t, 1))
    batch = collate_samples([sample(height) for height in heights])
    wrapped = MMDataParallel(Echo(), device_ids=[-1])
    wrapped.device_ids = []  # as on a machine without GPU
    found = wrapped.train_step(pin_memory(batch), None)
    assert len(pinned) == tensors
    for key, channels in dict(img=3, labels=2).items():
        shapes = [tuple(tensor.shape) for tensor in found[key]]
        assert shapes == [(channels, height, 4) for height in heights]
        assert all((tensor == 2).all() for tensor in found[key])
    assert found['img_metas'] == batch['img_metas'].data[0]
