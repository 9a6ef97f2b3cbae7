"""Waiting without a limit, and yet not for processes that have left."""
import json
import os
import time

import numpy as np
import pytest
import torch
import torch.distributed as dist

from mbos.apis import Environment
from mbos.runtime import waiting
from mbos.runtime.exits import _is_lost
from tests.processes import run_processes


def slow_first(rank):
    """Three barriers, to which the first process comes late."""
    env = Environment(torch.device('cpu'), rank, 3)
    times = []
    for seconds in (2, 0, 0.5):
        if rank == 0:
            time.sleep(seconds)
        env.barrier()
        times.append(time.monotonic())
    return times


def test_barrier_waits_longer_than_collectives(tmp_path):
    """As for a long check of the data, of which others know nothing."""
    times = np.array(run_processes(slow_first, 3, tmp_path, timeout=1))
    assert np.ptp(times, axis=0).max() < 0.4, 'all go on together'
    assert (np.diff(times[:, [0, 2]], axis=1) > 0.5).all()


def meet_one_that_left(rank):
    """What the second process meets when the first ended with status 0."""
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    pid = child if rank == 0 else os.getpid()
    waiting._store().set(
        waiting._key(rank), json.dumps([waiting._place(), pid]))
    dist.barrier()
    if rank == 0:
        return None
    with pytest.raises(RuntimeError, match='process 0 has left') as error:
        waiting.wait_for_all()
    return _is_lost(error.value)


def test_a_process_that_left_is_noticed(tmp_path):
    assert run_processes(meet_one_that_left, 2, tmp_path)[1]


def live(rank):
    """Two rounds in which the first process is slow but alive."""
    waiting.announce()
    for seconds in (2.3, 0):
        if rank == 0:
            time.sleep(seconds)
        waiting.wait_for_all()
    return waiting._gone()


def test_a_process_that_lives_is_waited_for(tmp_path):
    assert run_processes(live, 2, tmp_path) == [[], []]


def late_collective(rank):
    if rank == 0:
        time.sleep(2)
    try:
        dist.barrier()
    except RuntimeError as error:
        return _is_lost(error)


def test_collectives_give_up(tmp_path):
    """What the test above would see without a barrier of its own."""
    assert run_processes(late_collective, 2, tmp_path, timeout=1)[1]
