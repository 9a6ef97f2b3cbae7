import argparse
import os
import random

import numpy as np
import pytest
import torch
import torch.distributed as dist
from mmcv.parallel import DataContainer
from torch import nn

from mbos.apis import Environment, LaunchError, set_up_environment
from mbos.runtime.environment import (add_launcher_arguments, set_random_seed,
                                      wrap_model)

SLURM = dict(SLURM_PROCID='1', SLURM_LOCALID='1', SLURM_NTASKS='2')


@pytest.fixture
def joined(monkeypatch):
    """Arguments with which the process would join a group."""
    calls = []
    monkeypatch.setattr(dist, 'init_process_group',
                        lambda backend, **kwargs: calls.append(backend))
    monkeypatch.setattr(dist, 'get_rank', lambda: 1)
    monkeypatch.setattr(dist, 'get_world_size', lambda: 2)
    monkeypatch.setattr('mbos.runtime.environment.announce', lambda: None)
    for name in ('RANK', 'LOCAL_RANK', 'LOCAL_WORLD_SIZE', 'WORLD_SIZE'):
        monkeypatch.delenv(name, raising=False)
    return calls


def pretend_gpus(monkeypatch, count):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: count > 0)
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: count)
    monkeypatch.setattr(torch.cuda, 'set_device', lambda device: None)


def test_alone(joined, monkeypatch):
    pretend_gpus(monkeypatch, 0)
    env = set_up_environment()
    assert env == Environment(torch.device('cpu'), 0, 1)
    assert env.is_main and not env.distributed and joined == []
    env.barrier()
    pretend_gpus(monkeypatch, 2)
    assert set_up_environment().device == torch.device('cuda', 0)


@pytest.mark.parametrize('gpus, device, backend', [(0, 'cpu', 'gloo'),
                                                   (2, 'cuda:1', 'nccl')])
def test_torchrun(joined, monkeypatch, gpus, device, backend):
    pretend_gpus(monkeypatch, gpus)
    for name in ('RANK', 'LOCAL_RANK'):
        monkeypatch.setenv(name, '1')
    monkeypatch.setenv('LOCAL_WORLD_SIZE', '2')
    env = set_up_environment('pytorch')
    assert env == Environment(torch.device(device), 1, 2)
    assert joined == [backend] and not env.is_main


def test_more_processes_than_gpus(joined, monkeypatch):
    pretend_gpus(monkeypatch, 2)
    for name in ('RANK', 'LOCAL_RANK'):
        monkeypatch.setenv(name, '0')
    monkeypatch.setenv('LOCAL_WORLD_SIZE', '3')
    with pytest.raises(LaunchError, match='3 processes.*only 2 GPU.*start 2'):
        set_up_environment('pytorch')
    assert joined == [], 'nobody waits for the others'


def test_slurm(joined, monkeypatch):
    pretend_gpus(monkeypatch, 0)
    for name, value in SLURM.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv('MASTER_ADDR', 'node1')
    assert set_up_environment('slurm').world_size == 2
    assert joined == ['gloo']


def test_launcher_that_did_not_launch(joined, monkeypatch):
    with pytest.raises(LaunchError, match='torchrun.*tools/dist_'):
        set_up_environment('pytorch')
    for name in SLURM:
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(LaunchError, match='SLURM_PROCID.*srun'):
        set_up_environment('slurm')


def test_timeout(joined, monkeypatch):
    pretend_gpus(monkeypatch, 0)
    for name in ('RANK', 'LOCAL_RANK'):
        monkeypatch.setenv(name, '0')
    for text in ('soon', '0', '-1', 'inf', 'nan'):
        monkeypatch.setenv('MBOS_TIMEOUT_MINUTES', text)
        with pytest.raises(LaunchError, match='expected minutes'):
            set_up_environment('pytorch')
    assert joined == []


def test_seed():

    def draw():
        return random.random(), np.random.rand(), torch.rand(1).item()

    set_random_seed(7)
    first = draw()
    set_random_seed(7)
    assert draw() == first
    set_random_seed(8)
    assert all(a != b for a, b in zip(draw(), first))


class Echo(nn.Module):

    def forward(self, img, names):
        return img.sum().item(), names


def test_wrapped_model_unpacks_containers():
    model = wrap_model(Echo(), Environment(torch.device('cpu')))
    total, names = model(
        img=DataContainer([torch.ones(2, 3)]),
        names=DataContainer([['a']], cpu_only=True))
    assert total == 6 and names == ['a']


@pytest.mark.parametrize('option', [['--local-rank=1'], ['--local-rank', '1'],
                                    ['--local_rank=1'], ['--local_rank', '1']])
@pytest.mark.parametrize('known, expected', [(None, '1'), ('2', '2')])
def test_what_old_launchers_pass(monkeypatch, option, known, expected):
    """torch.distributed.launch; what torchrun has set counts."""
    monkeypatch.setenv('LOCAL_RANK', known or '')
    if known is None:
        monkeypatch.delenv('LOCAL_RANK')
    parser = argparse.ArgumentParser()
    add_launcher_arguments(parser)
    args = parser.parse_args([*option, '--launcher', 'pytorch'])
    assert args.launcher == 'pytorch'
    assert os.environ['LOCAL_RANK'] == expected
