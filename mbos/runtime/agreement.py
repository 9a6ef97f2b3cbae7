"""Flags that all processes of a run see alike, read without a halt."""

import torch
import torch.distributed as dist
from mmcv.runner import get_dist_info
from torch import Tensor


class Agreement:
    """The largest value of each flag over all processes, once an iteration.

    On CPU the values are there at once. Reading them from a GPU would make
    the host wait for all work that was queued before, so there a call starts
    a copy and returns what the call before it started, which is there by now:
    every process learns the same, one iteration late.

    Args:
        late (bool, optional): Whether values come one call late. Default: for
            flags on a GPU.
    """

    def __init__(self, late: bool | None = None):
        self.late = late
        self._under_way = None

    def __call__(self,
                 flags: Tensor,
                 context: object = None) -> tuple[list[float] | None, object]:
        """Exchange flags, of shape (n,) in every process, none of them NaN.

        Returns:
            tuple[list[float] | None, object]: The largest values and the
            context they were given with; None where nothing has arrived yet.
        """
        if get_dist_info()[1] > 1:
            flags = flags.clone()
            dist.all_reduce(flags, op=dist.ReduceOp.MAX)
        late = flags.is_cuda if self.late is None else self.late
        if not late:
            return flags.tolist(), context
        before, self._under_way = self._under_way, (_copy(flags), context)
        return _read(before)

    def settle(self) -> tuple[list[float] | None, object]:
        """Wait for what is under way, as before a checkpoint."""
        before, self._under_way = self._under_way, None
        return _read(before)


def _copy(flags: Tensor):
    if not flags.is_cuda:
        return flags, None
    host = torch.empty(flags.shape, dtype=flags.dtype, pin_memory=True)
    host.copy_(flags, non_blocking=True)
    event = torch.cuda.Event()
    event.record()
    return host, event


def _read(started) -> tuple[list[float] | None, object]:
    if started is None:
        return None, None
    (host, event), context = started
    if event is not None:
        event.synchronize()
    return host.tolist(), context
