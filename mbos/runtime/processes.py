"""What the processes of a run agree on, and how they wait for each other."""
import time
from typing import Any

import torch
import torch.distributed as dist
from mmcv.runner import get_dist_info
from torch import Tensor

POLL = 0.05
_ARRIVED, _WENT_ON = 'mbos arrived', 'mbos went on'


class Agreement:
    """Whether any process has raised a flag, once an iteration.

    Reading values from a GPU would make the host wait for all work that was
    queued before, so there, or where ``late`` says so, a call starts a copy
    and returns what the call before it started.
    """

    def __init__(self, late: bool | None = None):
        self.late = late
        self._under_way: tuple | None = None

    def is_late(self, flag: Tensor) -> bool:
        """Whether the values of such flags come one call late."""
        return flag.is_cuda if self.late is None else self.late

    def __call__(self, flag: Tensor, context: Any = None) -> tuple[bool, Any]:
        """Exchange a flag, a single 0 or 1 in every process.

        Returns:
            tuple[bool, Any]: The value, False where nothing is known yet, and
            the context that it was given with.
        """
        if get_dist_info()[1] > 1:
            flag = flag.clone()
            dist.all_reduce(flag, op=dist.ReduceOp.MAX)
        if not self.is_late(flag):
            return bool(flag), context
        before, event = self._under_way, None
        if flag.is_cuda:
            host = torch.empty_like(flag, device='cpu', pin_memory=True)
            flag = host.copy_(flag, non_blocking=True)
            event = torch.cuda.Event()
            event.record()
        self._under_way = flag, event, context
        return _read(before)

    def settle(self) -> tuple[bool, Any]:
        """Wait for what is under way, as before a checkpoint."""
        before, self._under_way = self._under_way, None
        return _read(before)


def _read(started: tuple | None) -> tuple[bool, Any]:
    if started is None:
        return False, None
    flag, event, context = started
    if event is not None:
        event.synchronize()
    return bool(flag), context


def wait_for_all() -> None:
    """Wait until all processes are here, however long they take.

    Collectives would give up after some minutes; here processes count
    themselves in the store through which they met.
    """
    store = dist.distributed_c10d._get_default_store()
    processes = dist.get_world_size()
    # every process has waited as often before
    wanted = -(-store.add(_ARRIVED, 1) // processes) * processes
    _wait_for(store, _ARRIVED, wanted)
    store.add(_WENT_ON, 1)
    if dist.get_rank() == 0:
        # it may hold the store, which the others need until here
        _wait_for(store, _WENT_ON, wanted)


def _wait_for(store: dist.Store, counter: str, wanted: int) -> None:
    while store.add(counter, 0) < wanted:
        time.sleep(POLL)
