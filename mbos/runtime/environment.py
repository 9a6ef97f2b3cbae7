"""Devices and processes of a run, and how they wait for each other."""
import ctypes
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import timedelta
from functools import cache

import numpy as np
import torch
import torch.distributed as dist
from mmcv.parallel import MMDataParallel
from mmcv.runner import get_dist_info
from torch import nn

from .exits import LaunchError

# minutes that a process waits for what all do together, as averaging gradients
TIMEOUT = 'MBOS_TIMEOUT_MINUTES'
SLURM = dict(
    RANK='SLURM_PROCID', LOCAL_RANK='SLURM_LOCALID', WORLD_SIZE='SLURM_NTASKS')


@dataclass(frozen=True)
class Environment:
    """Where a process runs: the ``rank``-th of ``world_size`` processes."""

    device: torch.device
    rank: int = 0
    world_size: int = 1

    @property
    def distributed(self) -> bool:
        """bool: Whether there are several processes, or one under torchrun."""
        return dist.is_available() and dist.is_initialized()

    @property
    def is_main(self) -> bool:
        """bool: Whether this process writes files and logs."""
        return self.rank == 0

    def barrier(self) -> None:
        """Wait for the other processes, however long they take."""
        wait_for_all()


def set_up_environment(launcher: str = 'none') -> Environment:
    """Join the other processes and take this one's device.

    Raises:
        LaunchError: If there are more processes on this machine than GPUs, or
            a variable of the launcher is missing or wrong.
    """
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if launcher == 'none' and 'TORCHELASTIC_RUN_ID' not in os.environ:
        return Environment(torch.device('cuda:0' if gpus else 'cpu'))
    if launcher == 'slurm':
        _take_slurm_variables()
    else:
        end_with_launcher()
    local_rank = int(os.environ.get('LOCAL_RANK', 0))
    local_size = int(os.environ.get('LOCAL_WORLD_SIZE', local_rank + 1))
    device, backend = torch.device('cpu'), 'gloo'
    if gpus:
        if max(local_size, local_rank + 1) > gpus:
            raise LaunchError(
                f'{local_size} processes on this machine, but only {gpus} '
                f'GPU(s): start {gpus} at most, or set CUDA_VISIBLE_DEVICES= '
                'to train on CPU.')
        device = torch.device('cuda', local_rank)
        backend = 'cpu:gloo,cuda:nccl'  # by where a tensor is
        torch.cuda.set_device(device)
    minutes = os.environ.get(TIMEOUT, '10')
    try:
        timeout = timedelta(minutes=float(minutes))
    except (ValueError, OverflowError) as error:
        raise LaunchError(f'{TIMEOUT} is {minutes!r}: {error}.') from error
    dist.init_process_group(backend, timeout=timeout)
    patient_group()  # connected, so that a death is noticed
    return Environment(device, dist.get_rank(), dist.get_world_size())


def _take_slurm_variables() -> None:
    """Set what torch reads to what Slurm has set."""
    given = os.environ
    try:
        given.update({name: given[slurm] for name, slurm in SLURM.items()})
    except KeyError as missing:
        raise LaunchError(f'--launcher slurm needs {missing} in the '
                          'environment: start it with srun '
                          '(tools/slurm_train.sh does).') from missing
    given.setdefault('LOCAL_WORLD_SIZE', given.get('SLURM_NTASKS_PER_NODE',
                                                   '1'))
    given.setdefault('MASTER_PORT', '29500')
    if 'MASTER_ADDR' not in given:
        command = ['scontrol', 'show', 'hostname', given['SLURM_NODELIST']]
        hosts = subprocess.check_output(command, text=True)
        given['MASTER_ADDR'] = hosts.split()[0]


def end_with_launcher() -> None:
    """Let Linux send SIGTERM to this process when its launcher dies."""
    if sys.platform.startswith('linux'):
        ctypes.CDLL(None).prctl(1, int(signal.SIGTERM))  # PR_SET_PDEATHSIG
        launcher = os.environ.get('MBOS_LAUNCHER_PID')
        if launcher and os.getppid() != int(launcher):  # it died before
            os.kill(os.getpid(), signal.SIGTERM)


def any_process(mine: bool) -> bool:
    """Whether something is so in any process; all must ask."""
    if get_dist_info()[1] == 1:
        return mine
    flag = torch.tensor(float(mine))  # by gloo, so nobody waits for a GPU
    dist.all_reduce(flag, op=dist.ReduceOp.MAX)
    return bool(flag)


@cache
def patient_group() -> dist.ProcessGroup:
    """All processes; other exchanges give up after some minutes."""
    return dist.new_group(backend='gloo', timeout=timedelta(days=365))


def wait_for_all() -> None:
    """Wait until all are here or one has died; signals are handled."""
    if get_dist_info()[1] == 1:
        return
    arrival = dist.barrier(patient_group(), async_op=True)
    while not arrival.is_completed():
        time.sleep(0.05)
    arrival.wait()


def set_random_seed(seed: int) -> None:
    """Seed Python, NumPy and torch."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def wrap_model(model: nn.Module, env: Environment) -> MMDataParallel:
    """Put a model on the process's device, ready for mmcv's batches;
    ``GradientStepHook`` averages gradients over the processes."""
    index = -1 if env.device.type == 'cpu' else env.device.index or 0
    wrapped = MMDataParallel(model.to(env.device), device_ids=[index])
    if index < 0:
        wrapped.device_ids = []  # also on machines that have a GPU
    return wrapped


def unwrapped(model: nn.Module) -> nn.Module:
    """A network without its wrapper for data parallelism, if it has one."""
    return getattr(model, 'module', model)
