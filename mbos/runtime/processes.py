"""What the processes of a run agree on, and how they wait for each other."""
import time
from datetime import timedelta
from functools import cache

import torch
import torch.distributed as dist
from mmcv.runner import get_dist_info

POLL = 0.05


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
