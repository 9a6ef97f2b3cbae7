"""What several benchmarks need."""
import multiprocessing
import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from statistics import median
from unittest import mock


def markdown(rows: Sequence[Sequence[object]]) -> str:
    """A table in Markdown, of which the first row is the head; all columns but
    the first are aligned on the right."""
    rule = ['---', *['---:'] * (len(rows[0]) - 1)]
    return '\n'.join(f'| {" | ".join(map(str, row))} |'
                     for row in (rows[0], rule, *rows[1:]))


def in_turn(acts: dict[str, Callable[[], object]],
            rounds: int) -> dict[str, float]:
    """Median processor time, of all threads together, of each of several
    calls, which take turns, so that a busy machine slows all of them. A first
    round does not count."""
    found = defaultdict(list)
    for _ in range(1 + rounds):
        for name, act in acts.items():
            start = time.process_time()
            act()
            found[name].append(time.process_time() - start)
    return {k: median(v[1:]) for k, v in found.items()}


def time_parts(act: Callable[[], object],
               parts: Iterable[tuple[object, str, str]]) -> dict[str, float]:
    """Processor seconds of the parts of a call, and of the 'rest'. Parts are
    functions, by owner and name, and what each is called; one within another
    is not counted twice."""
    seconds: dict[str, float] = defaultdict(float)

    def unassigned() -> float:
        return time.process_time() - sum(seconds.values())

    def timed(part: str, function: Callable) -> Callable:
        """The function, whose seconds count for a part."""

        def call(*args, **kwargs):
            start = unassigned()
            try:
                return function(*args, **kwargs)
            finally:
                seconds[part] += unassigned() - start

        return call

    with ExitStack() as stack:
        for owner, name, part in parts:
            function = timed(part, getattr(owner, name))
            stack.enter_context(mock.patch.object(owner, name, function))
        timed('rest', act)()
    return seconds


def in_own_process(function: Callable, *args: object) -> dict:
    """Call a function in a process of its own; what it prints goes to stderr,
    so that it does not mix with the results."""
    context = multiprocessing.get_context('spawn')
    with ProcessPoolExecutor(1, context, os.dup2, (2, 1)) as pool:
        return pool.submit(function, *args).result()


def resident(field: str) -> float:
    """Memory of this process in MB: ``VmRSS``, now, or ``VmHWM``, the peak
    since the program started (``ru_maxrss`` may be the parent's)."""
    with open('/proc/self/status') as file:
        sizes = dict(line.split(':') for line in file)
    return int(sizes[field].split()[0]) / 1024
