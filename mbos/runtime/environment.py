"""Devices and processes of a run: who they are, what they agree on, and how
they wait for each other."""
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

TIMEOUT = 'MBOS_TIMEOUT_MINUTES'
"""str: Variable with the minutes that a process waits for what all processes
do together, such as an exchange of gradients."""
SLURM = dict(
    RANK='SLURM_PROCID', LOCAL_RANK='SLURM_LOCALID', WORLD_SIZE='SLURM_NTASKS')
POLL = 0.05
_PR_SET_PDEATHSIG = 1


class LaunchError(RuntimeError):
    """The processes of a run were started wrongly."""


@dataclass(frozen=True)
class Environment:
    """Where a process runs: the ``rank``-th of ``world_size`` processes."""

    device: torch.device
    rank: int = 0
    world_size: int = 1

    @property
    def distributed(self) -> bool:
        """bool: Whether there are several processes, or one under torchrun."""
        return is_joined()

    @property
    def is_main(self) -> bool:
        """bool: Whether this process writes files and logs."""
        return self.rank == 0

    def barrier(self) -> None:
        """Wait for the other processes, however long they take."""
        wait_for_all()


def is_joined() -> bool:
    """Whether this process is one of a group, be it the only one."""
    return dist.is_available() and dist.is_initialized()


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
    elif 'RANK' not in os.environ:
        raise LaunchError(
            '--launcher pytorch is for torchrun, which sets RANK and others: '
            'use tools/dist_*.sh, or leave --launcher out.')
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
        raise LaunchError(
            f'{TIMEOUT} is {minutes!r}, expected minutes.') from error
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
    tasks = given.get('SLURM_NTASKS_PER_NODE', '1')
    given.setdefault('LOCAL_WORLD_SIZE', tasks)
    given.setdefault('MASTER_PORT', '29500')
    if 'MASTER_ADDR' not in given:
        command = ['scontrol', 'show', 'hostname', given['SLURM_NODELIST']]
        hosts = subprocess.check_output(command, text=True)
        given['MASTER_ADDR'] = hosts.split()[0]


def end_with_launcher() -> None:
    """Let the kernel send SIGTERM to this process when its launcher dies, so
    that none is left behind. Linux only."""
    if sys.platform.startswith('linux'):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM))
        launcher = os.environ.get('MBOS_LAUNCHER_PID')
        if launcher and os.getppid() != int(launcher):  # it died before
            os.kill(os.getpid(), signal.SIGTERM)


def any_process(mine: bool) -> bool:
    """Whether something is so in any process; all must ask.

    Tensors of the CPU go through gloo, so nobody waits for a GPU.
    """
    if get_dist_info()[1] == 1:
        return mine
    flag = torch.tensor(float(mine))
    dist.all_reduce(flag, op=dist.ReduceOp.MAX)
    return bool(flag)


@cache
def patient_group() -> dist.ProcessGroup:
    """All processes; other exchanges give up after some minutes."""
    return dist.new_group(backend='gloo', timeout=timedelta(days=365))


def wait_for_all() -> None:
    """Wait until all processes are here, however long they take, or one has
    died; signals are handled meanwhile."""
    if get_dist_info()[1] == 1:
        return
    arrival = dist.barrier(patient_group(), async_op=True)
    while not arrival.is_completed():
        time.sleep(POLL)
    arrival.wait()


def set_random_seed(seed: int) -> None:
    """Seed Python, NumPy and torch."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def wrap_model(model: nn.Module, env: Environment) -> MMDataParallel:
    """Put a model on the process's device, ready for mmcv's batches.

    Gradients are averaged over the processes by ``GradientStepHook``.
    """
    on_cpu = env.device.type == 'cpu'
    index = -1 if on_cpu else env.device.index or 0
    wrapped = MMDataParallel(model.to(env.device), device_ids=[index])
    if on_cpu:
        wrapped.device_ids = []  # also on machines that have a GPU
    return wrapped


def unwrapped(model: nn.Module) -> nn.Module:
    """A network without its wrapper for data parallelism, if it has one."""
    return getattr(model, 'module', model)
