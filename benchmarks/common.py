"""What several benchmarks need."""
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Sequence


def markdown(rows: Sequence[Sequence[object]]) -> str:
    """A table in Markdown, of which the first row is the head; all columns but
    the first are aligned on the right.
    """
    rule = ['---', *['---:'] * (len(rows[0]) - 1)]
    return '\n'.join(f'| {" | ".join(map(str, row))} |'
                     for row in (rows[0], rule, *rows[1:]))


def in_turn(acts: dict[str, Callable[[], object]],
            rounds: int) -> dict[str, float]:
    """Median processor time, of all threads together, of each of several
    calls, which take turns, so that a busy machine slows all of them. A first
    round does not count.
    """
    found = defaultdict(list)
    for _ in range(1 + rounds):
        for name, act in acts.items():
            start = time.process_time()
            act()
            found[name].append(time.process_time() - start)
    return {k: statistics.median(v[1:]) for k, v in found.items()}


class Clock:
    """Processor seconds by step; a step within another is not counted twice.
    """

    def __init__(self):
        self.seconds = defaultdict(float)

    def _unassigned(self) -> float:
        return time.process_time() - sum(self.seconds.values())

    def __call__(self, step: str, function: Callable) -> Callable:
        """A function each call of which is timed."""

        def timed(*args, **kwargs):
            start = self._unassigned()
            try:
                return function(*args, **kwargs)
            finally:
                self.seconds[step] += self._unassigned() - start

        return timed


def resident(field: str) -> float:
    """Memory of this process in MB: ``VmRSS``, now, or ``VmHWM``, the peak
    since the program started (``ru_maxrss`` may be the parent's).
    """
    with open('/proc/self/status') as file:
        sizes = dict(line.split(':') for line in file)
    return int(sizes[field].split()[0]) / 1024
