import time

import pytest
import torch
import torch.distributed as dist

from mbos.apis import Environment, LaunchError, set_up_environment
from tests.processes import run_processes

SLURM = dict(
    SLURM_PROCID='1', SLURM_LOCALID='1', SLURM_NTASKS='2', MASTER_ADDR='node1')
TORCHRUN = dict(RANK='1', LOCAL_RANK='1', LOCAL_WORLD_SIZE='2')


@pytest.fixture
def join(monkeypatch):
    """Function that sets up a process; returns it and the backends joined."""
    calls = []
    monkeypatch.setattr(dist, 'init_process_group',
                        lambda backend, **kwargs: calls.append(backend))
    monkeypatch.setattr(dist, 'get_rank', lambda: 1)
    monkeypatch.setattr(dist, 'get_world_size', lambda: 2)
    for name in ('end_with_launcher', 'patient_group'):
        monkeypatch.setattr(f'mbos.runtime.environment.{name}', lambda: None)

    def run(launcher, gpus=0, **variables):
        monkeypatch.setattr(torch.cuda, 'is_available', lambda: gpus > 0)
        monkeypatch.setattr(torch.cuda, 'device_count', lambda: gpus)
        monkeypatch.setattr(torch.cuda, 'set_device', lambda device: None)
        for name in (*SLURM, *TORCHRUN, 'WORLD_SIZE', 'TORCHELASTIC_RUN_ID'):
            monkeypatch.delenv(name, raising=False)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        return set_up_environment(launcher), calls

    return run


def test_alone(join):
    env, joined = join('none')
    assert env == Environment(torch.device('cpu'), 0, 1)
    assert env.is_main and not env.distributed and joined == []
    env.barrier()
    assert join('none', 2)[0].device == torch.device('cuda', 0)


@pytest.mark.parametrize('launcher, gpus, variables, device, backend', [
    ('pytorch', 0, TORCHRUN, 'cpu', 'gloo'),
    ('pytorch', 2, TORCHRUN, 'cuda:1', 'cpu:gloo,cuda:nccl'),
    ('none', 0, dict(TORCHRUN, TORCHELASTIC_RUN_ID='x'), 'cpu', 'gloo'),
    ('slurm', 0, SLURM, 'cpu', 'gloo'),
])
def test_with_others(join, launcher, gpus, variables, device, backend):
    env, joined = join(launcher, gpus, **variables)
    assert env == Environment(torch.device(device), 1, 2)
    assert joined == [backend] and not env.is_main


@pytest.mark.parametrize('launcher, gpus, variables, words', [
    ('slurm', 0, {}, 'SLURM_PROCID.*srun'),
    ('pytorch', 2, dict(TORCHRUN, LOCAL_WORLD_SIZE='3'),
     '3 processes.*only 2 GPU.*start 2'),
    *(('pytorch', 0, dict(TORCHRUN, MBOS_TIMEOUT_MINUTES=text),
       'MBOS_TIMEOUT_MINUTES') for text in ('soon', 'inf', 'nan')),
])  # yapf: disable
def test_started_wrongly(join, launcher, gpus, variables, words):
    """Nobody waits for the others."""
    with pytest.raises(LaunchError, match=words):
        join(launcher, gpus, **variables)


def slow_first(rank):
    """A barrier to which the first process comes late."""
    if rank == 0:
        time.sleep(2)
    reached = time.monotonic()
    Environment(torch.device('cpu'), rank, 3).barrier()
    return reached, time.monotonic()


def test_barrier_waits_longer_than_collectives(tmp_path):
    """As for a long check of the data, of which others know nothing."""
    reached, left = zip(*run_processes(slow_first, 3, tmp_path, timeout=1))
    assert max(reached) <= min(left)
