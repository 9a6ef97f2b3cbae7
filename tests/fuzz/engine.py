"""Runs cases in processes of their own, so that a crash or a hang is seen."""
import faulthandler
import logging
import multiprocessing
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch

from mbos.apis import EXPECTED_ERRORS
from . import config_kinds, faulty_kinds, image_kinds, text_kinds, weight_kinds
from .mutations import DAMAGE

FILES = {**image_kinds.KINDS, **text_kinds.KINDS, **weight_kinds.KINDS}
KINDS = {**FILES, **config_kinds.KINDS}
GOOD = ('read', 'refused')
TIMEOUT = 20.0
"""float: Seconds after which a case counts as hanging."""
MEMORY = 2 * 1024**3
"""int: Bytes that a process may allocate more than it has at its start."""


@dataclass(frozen=True)
class Outcome:
    """What became of a case.

    Attributes:
        kind (str): A key of ``KINDS``.
        number (int): Which case of the kind.
        result (str): ``read`` or ``refused``; or what must not happen:
            ``unexplained`` or ``unnamed`` errors, ``half-written`` output,
            ``wrong`` results, ``ran code``, ``crash``, ``hang``.
        detail (str): The error.
        seconds (float): How long it took.
    """

    kind: str
    number: int
    result: str
    detail: str = ''
    seconds: float = 0.0


def judge(kind, number, seed, folder):
    """Run one case in this process; number 0 is without any damage."""
    DAMAGE['on'] = number > 0
    kinds = {**KINDS, **faulty_kinds.KINDS}
    rng = np.random.default_rng([seed, sorted(kinds).index(kind), number])
    names, read = kinds[kind](rng, folder)
    names = (names, ) if isinstance(names, str) else names
    try:
        read()
    except EXPECTED_ERRORS as error:
        text = str(error)
        if not any(name in text for name in names):
            return 'unnamed', _trace(error)
        result, detail = 'refused', text
    except AssertionError as error:
        half = str(error).startswith('half')
        return 'half-written' if half else 'wrong', _trace(error)
    except Exception as error:
        return 'unexplained', _trace(error)
    else:
        result, detail = 'read', ''
    if Path('hostile_code_was_run').exists():
        return 'ran code', detail
    if number == 0 and result != 'read':
        return 'wrong', f'a whole file was refused: {detail}'
    leftovers = [str(p) for p in folder.rglob('*.tmp')]
    return ('half-written', str(leftovers)) if leftovers else (result, detail)


def _trace(error):
    return ''.join(traceback.format_exception(error))[-3000:]


def _work(pipe, seed, folder):
    """Runs the cases that come through a pipe until None comes."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    warnings.simplefilter('ignore')
    logging.disable(logging.CRITICAL)
    faulthandler.disable()
    null = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):  # of C libraries too
        os.dup2(null, stream)
    pages = int(Path('/proc/self/statm').read_text().split()[0])
    limit = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    pipe.send(True)
    while True:
        case = pipe.recv()
        if case is None:
            return
        place = Path(tempfile.mkdtemp(dir=folder))
        os.chdir(place)
        start = time.monotonic()
        result, detail = judge(*case, seed, place)
        pipe.send((result, detail, time.monotonic() - start))
        os.chdir(folder)
        shutil.rmtree(place, ignore_errors=True)


class Worker:
    """A process that runs cases one by one, and is replaced when it dies."""

    def __init__(self, seed, folder, timeout=TIMEOUT):
        self.seed, self.folder, self.timeout = seed, folder, timeout
        self.case = None
        self._start()

    def _start(self):
        # not forked from this process, whose threads may hold locks
        context = multiprocessing.get_context('forkserver')
        context.set_forkserver_preload([__name__])
        self.pipe, other = context.Pipe()
        self.process = context.Process(
            target=_work, args=(other, self.seed, str(self.folder)))
        self.process.start()
        other.close()
        self.ready = False

    def give(self, case):
        """Start a case; the first waits until the process is there."""
        if not self.ready:
            self.ready = self.pipe.recv()
        self.case, self.since = case, time.monotonic()
        self.pipe.send(case)

    def poll(self):
        """The outcome of the running case, or None if there is none yet."""
        if self.pipe.poll():
            try:
                result, detail, seconds = self.pipe.recv()
            except EOFError:
                return self._replace('crash', f'status {self._status()}')
            return self._outcome(result, detail, seconds)
        if not self.process.is_alive() and not self.pipe.poll():
            return self._replace('crash', f'status {self._status()}')
        timeout = self.timeout
        if self.case[0] in config_kinds.KINDS:  # whole runs
            timeout *= config_kinds.LONGER
        if time.monotonic() - self.since > timeout:
            self.process.kill()
            return self._replace('hang', f'no answer in {timeout} s')
        return None

    def _status(self):
        self.process.join(5)
        code = self.process.exitcode
        return signal.Signals(-code).name if code and code < 0 else code

    def _outcome(self, result, detail, seconds):
        outcome = Outcome(*self.case, result, detail, seconds)
        self.case = None
        return outcome

    def _replace(self, result, detail):
        outcome = self._outcome(result, detail, time.monotonic() - self.since)
        self.end()
        self._start()
        return outcome

    def end(self):
        """End the process."""
        if self.process.is_alive():
            try:
                self.pipe.send(None)
            except OSError:
                pass
            self.process.join(1)
        self.process.kill()
        self.process.join()
        self.pipe.close()


def run(cases,
        seed,
        workers=1,
        kinds=tuple(KINDS),
        progress=None,
        timeout=TIMEOUT):
    """Run cases, as many of each kind.

    Args:
        cases (int): How many in all, at least.
        seed (int): Of all damage.
        workers (int): Processes.
        kinds (Sequence[str]): Of ``KINDS``.
        progress (callable, optional): Gets each outcome.
        timeout (float): Seconds that a case may take.

    Returns:
        list[Outcome]: Of all cases.
    """
    each = -(-cases // len(kinds))
    todo = [(kind, number) for number in range(each) for kind in kinds]
    todo.reverse()
    outcomes = []
    sys.stdout.flush()
    folder = tempfile.mkdtemp(prefix='fuzz_')
    pool = [Worker(seed, folder, timeout) for _ in range(workers)]
    try:
        while todo or any(w.case for w in pool):
            for worker in pool:
                if worker.case:
                    outcome = worker.poll()
                    if outcome is None:
                        continue
                    outcomes.append(outcome)
                    if progress:
                        progress(outcome)
                if todo:
                    worker.give(todo.pop())
            time.sleep(0.001)
    finally:
        for worker in pool:
            worker.end()
        shutil.rmtree(folder, ignore_errors=True)
    return outcomes


def table(outcomes):
    """Counts by kind and result, as text."""
    counts = Counter((o.kind, o.result) for o in outcomes)
    results = list(GOOD) + sorted({o.result for o in outcomes} - set(GOOD))
    rows = [['kind', *results, 'slowest s']]
    for kind in dict.fromkeys(sorted(o.kind for o in outcomes)):
        slowest = max(o.seconds for o in outcomes if o.kind == kind)
        rows.append([kind] + [str(counts[kind, r])
                              for r in results] + [f'{slowest:.2f}'])
    rows.append(['all'] +
                [str(sum(o.result == r for o in outcomes)) for r in results] +
                [f'{max(o.seconds for o in outcomes):.2f}'])
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return '\n'.join('  '.join(
        cell.ljust(width) if i == 0 else cell.rjust(width)
        for i, (cell, width) in enumerate(zip(row, widths))) for row in rows)
