"""Waiting for the other processes of a run without a limit of time.

Collectives of gloo and NCCL give up after some minutes, and NCCL's do not
notice a process that left. Here processes count themselves in the store
through which they met.
"""
import json
import os
import time

import torch.distributed as dist

POLL = 0.05
"""float: Seconds between two looks at whether the others have arrived."""
LOOK_FOR_OTHERS = 2.0
"""float: Seconds between two looks at whether they are alive."""
_ARRIVED, _WENT_ON = 'mbos arrived', 'mbos went on'


def announce() -> None:
    """Let the others see whether this process is alive."""
    _store().set(_key(dist.get_rank()), json.dumps([_place(), os.getpid()]))


def wait_for_all() -> None:
    """Wait until all processes are here, however long they take.

    Launchers end the waiting ones when one fails.

    Raises:
        RuntimeError: If one on this machine has left without failing.
    """
    processes = dist.get_world_size()
    # every process has waited as often before
    arrived = _store().add(_ARRIVED, 1)
    wanted = -(-arrived // processes) * processes
    _wait_for(_ARRIVED, wanted)
    _store().add(_WENT_ON, 1)
    if dist.get_rank() == 0:
        # it may hold the store, which the others need until here
        _wait_for(_WENT_ON, wanted)


def _wait_for(counter: str, wanted: int) -> None:
    looked = time.monotonic()
    while _store().add(counter, 0) < wanted:
        time.sleep(POLL)
        if time.monotonic() - looked < LOOK_FOR_OTHERS:
            continue
        gone, looked = _gone(), time.monotonic()
        if gone and _store().add(counter, 0) < wanted:
            raise RuntimeError('Connection closed: process '
                               f'{", ".join(map(str, gone))} has left')


def _store():
    return dist.distributed_c10d._get_default_store()


def _key(rank: int) -> str:
    return f'mbos process {rank}'


def _place() -> str:
    """Where process numbers are the same; '' where that is unknown."""
    try:
        with open('/proc/sys/kernel/random/boot_id', encoding='ascii') as file:
            return file.read() + os.readlink('/proc/self/ns/pid')
    except OSError:
        return ''


def _gone() -> list[int]:
    """Ranks of processes of this machine that do not run any more."""
    here, gone = _place(), []
    for rank in range(dist.get_world_size()):
        if not here or not _store().check([_key(rank)]):
            continue
        place, pid = json.loads(_store().get(_key(rank)))
        try:
            if place == here:
                os.kill(pid, 0)
        except ProcessLookupError:
            gone.append(rank)
        except PermissionError:
            pass
    return gone
