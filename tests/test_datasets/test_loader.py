"""What the loaders of training and testing are built with."""
import cv2
import pytest
import torch
from mmcv import ConfigDict
from torch.utils.data import Dataset

from mbos.datasets.loader import build_test_loader
from mbos.engine.train import build_loader
from mbos.runtime.environment import Environment

CFG = ConfigDict(seed=3, data=dict(samples_per_gpu=2, workers_per_gpu=2))


class Threads(Dataset):
    """Holds with how many threads a worker computes."""

    def __len__(self):
        return 2

    def set_seed(self, seed):
        self.seed = seed

    def __getitem__(self, index):
        return torch.tensor([cv2.getNumThreads(), torch.get_num_threads()])


@pytest.mark.parametrize('device, pinned', [('cpu', False), ('cuda', True)])
def test_pinned_memory_follows_the_device(device, pinned):
    env = Environment(torch.device(device))
    loader = build_loader(Threads(), CFG, env, start=0)
    assert loader.pin_memory is pinned and loader.persistent_workers
    assert build_test_loader(Threads(), CFG, env).pin_memory is pinned


def test_workers_of_tests_leave_the_cores_to_each_other():
    env = Environment(torch.device('cpu'))
    found = torch.stack(list(build_test_loader(Threads(), CFG, env)))
    # OpenCV says 1 for "no threads beside this one"
    assert found.max() == 1


@pytest.mark.parametrize('data, expected', [
    (dict(test_workers=0, workers_per_gpu=4), 0),
    (dict(workers_per_gpu=1), 1),
    ({}, 0),
])
def test_processes_that_load_test_images(data, expected):
    cfg = ConfigDict(data=data)
    loader = build_test_loader([0], cfg, Environment(torch.device('cpu')))
    assert loader.num_workers == expected
