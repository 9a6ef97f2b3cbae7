"""Functions in several processes that talk through gloo."""
import multiprocessing
import pickle
import traceback
from datetime import timedelta

import torch.distributed as dist


def run_processes(function, count, folder, timeout=60):
    """Call ``function(rank)`` in forked processes of one group.

    What it returns must be picklable, and it must not run a backward pass,
    which a forked process cannot. They meet in the empty ``folder``; a
    collective gives up after ``timeout`` seconds. Returns a list by rank.
    """
    context = multiprocessing.get_context('fork')
    results = context.Queue()
    workers = [
        context.Process(
            target=_work,
            args=(function, rank, count, folder, results, timeout))
        for rank in range(count)
    ]
    for worker in workers:
        worker.start()
    try:
        found = dict(pickle.loads(results.get(timeout=60)) for _ in workers)
    finally:
        for worker in workers:
            worker.join(timeout=10)
            worker.kill()
    failed = [text for kind, text in found.values() if kind == 'error']
    assert not failed, '\n'.join(failed)
    return [found[rank][1] for rank in range(count)]


def _work(function, rank, count, folder, results, timeout):
    try:
        dist.init_process_group(
            'gloo',
            init_method=f'file://{folder}/meeting_point',
            rank=rank,
            world_size=count,
            timeout=timedelta(seconds=timeout))
        # by value: a queue passes tensors as handles, which end with their
        # process
        results.put(pickle.dumps((rank, ('result', function(rank)))))
        dist.destroy_process_group()
    except Exception:
        results.put(pickle.dumps((rank, ('error', traceback.format_exc()))))
