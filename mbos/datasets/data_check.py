"""The check of all data before a run, in one process for all."""
import time

import torch.distributed as dist
from mmcv.utils import print_log


def check_data(datasets, env, logger=None, full: bool = True) -> None:
    """Read every mask and image once, in the first process.

    With ``full=False`` only look whether the files are there.

    Raises:
        DataError: In the first process; the others end with it.
    """
    start = time.time()
    problem = None
    if env.is_main:
        try:
            for dataset in datasets:
                if dataset is not None:
                    dataset.check(full)
        except ValueError as error:
            problem = error
    env.barrier()  # without a limit: large data take long to read
    if env.distributed:
        found = [problem is not None]
        dist.broadcast_object_list(found, src=0)
        if found[0] and problem is None:
            raise SystemExit(1)  # the first process says why
    if problem is not None:
        raise problem
    if env.is_main:
        print_log(f'Data checked in {time.time() - start:.0f} s', logger)
