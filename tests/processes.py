"""Other processes: Python, and functions that talk through gloo."""
import multiprocessing
import pickle
import subprocess
import sys
import traceback
from datetime import timedelta

import torch.distributed as dist


def run_python(*arguments, **settings):
    """Run Python in a process of its own, its output as text."""
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, **settings)


def run_processes(function, count, folder, timeout=60):
    """Call ``function(rank)`` in forked processes of one group, which cannot
    run a backward pass. They meet in the empty ``folder``; a collective gives
    up after ``timeout`` seconds. Returns what is picklable as a list by rank.
    """
    context = multiprocessing.get_context('fork')
    results = context.Queue()
    workers = []
    for rank in range(count):
        args = function, rank, count, folder, results, timeout
        workers.append(context.Process(target=_work, args=args))
        workers[-1].start()
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
        place = f'file://{folder}/meeting_point'
        dist.init_process_group('gloo', place, timedelta(seconds=timeout),
                                count, rank)
        # by value: a queue passes tensors as handles, which end with their
        # process
        results.put(pickle.dumps((rank, ('result', function(rank)))))
        dist.destroy_process_group()
    except Exception:
        results.put(pickle.dumps((rank, ('error', traceback.format_exc()))))
