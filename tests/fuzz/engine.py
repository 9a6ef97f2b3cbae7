"""Runs cases in processes of their own, so that a crash or a hang is seen."""
import faulthandler
import logging
import multiprocessing
import os
import resource
import shutil
import tempfile
import time
import traceback
import warnings
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch

from mbos.apis import EXPECTED_ERRORS
from . import config_kinds, file_kinds, weight_kinds
from .damage import DAMAGE

FILES = {**file_kinds.KINDS, **weight_kinds.KINDS}
KINDS = {**FILES, **config_kinds.KINDS}
GOOD = ('read', 'refused')
TIMEOUT = 20.0
"""float: Seconds after which a case counts as hanging; a run of a config has
several times as many."""
LONGER = 6.0
MEMORY = 2 * 1024**3
"""int: Bytes that a process may allocate more than it has at its start."""

FAULTY = {
    name: lambda rng, folder, fault=fault: ('file', lambda: fault(folder))
    for name, fault in dict(
        crash=lambda folder: os.abort(),
        hang=lambda folder: time.sleep(60),
        unexplained=lambda folder: bytes(10**11),  # too much memory
        unnamed=lambda folder: int('x'),
        half_written=lambda folder: (folder / 'out.tmp').touch(),
        ran_code=lambda folder: Path('hostile_code_was_run').touch(),
        read=lambda folder: None).items()
}
"""dict: Readers that do what must not happen, to see that it is seen, by what
it is called; and one that does not.
"""


@dataclass(frozen=True)
class Outcome:
    """What became of a case.

    ``result`` is ``read`` or ``refused``, or what must not happen:
    ``unexplained`` or ``unnamed`` errors, ``half_written`` output, ``wrong``
    results, ``ran_code``, ``crash``, ``hang``. ``detail`` is the error.
    """

    kind: str
    number: int
    result: str
    detail: str
    seconds: float


def judge(kind, number, seed, folder):
    """Run one case in this process; number 0 is without any damage."""
    DAMAGE['on'] = number > 0
    kinds = {**KINDS, **FAULTY}
    rng = np.random.default_rng([seed, sorted(kinds).index(kind), number])
    names, read = kinds[kind](rng, folder)
    result, detail = 'read', ''
    try:
        read()
    except EXPECTED_ERRORS as error:
        result, detail = 'refused', str(error)
        if not any(
                n in detail
                for n in ([names] if isinstance(names, str) else names)):
            return 'unnamed', traceback.format_exc()[-3000:]
    except AssertionError as error:
        half = str(error).startswith('half')
        return 'half_written' if half else 'wrong', traceback.format_exc()
    except Exception:
        return 'unexplained', traceback.format_exc()[-3000:]
    if Path('hostile_code_was_run').exists():
        return 'ran_code', detail
    if number == 0 and result != 'read':
        return 'wrong', f'a whole file was refused: {detail}'
    leftovers = [str(p) for p in folder.rglob('*.tmp')]
    return ('half_written', str(leftovers)) if leftovers else (result, detail)


def _work(pipe, kind, numbers, seed, folder):
    """Run the cases of a process, and send what became of them."""
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
    tempfile.tempdir = folder
    pipe.send('ready')
    for number in numbers:
        place = Path(tempfile.mkdtemp())
        os.chdir(place)
        pipe.send(judge(kind, number, seed, place))
        os.chdir(folder)
        shutil.rmtree(place, ignore_errors=True)


def _run_kind(kind, numbers, seed, timeout, watch):
    """Run cases of a kind; their process is replaced when it dies."""
    # not forked from this process, whose threads may hold locks
    context = multiprocessing.get_context('forkserver')
    context.set_forkserver_preload([__name__])
    timeout *= LONGER if kind in config_kinds.KINDS else 1
    outcomes, left = [], list(numbers)
    with tempfile.TemporaryDirectory(prefix='fuzz_') as folder:
        while left:
            pipe, other = context.Pipe()
            process = context.Process(
                target=_work, args=(other, kind, left, seed, folder))
            process.start()
            other.close()
            pipe.recv()
            result = ''
            while left and result not in ('crash', 'hang'):
                start = time.monotonic()
                result, detail = _answer(pipe, process, timeout)
                outcomes.append(
                    Outcome(kind, left.pop(0), result, detail,
                            time.monotonic() - start))
                watch(outcomes[-1])
            process.kill()
            process.join()
    return outcomes


def _answer(pipe, process, timeout):
    try:
        if pipe.poll(timeout):
            return pipe.recv()
        return 'hang', f'no answer in {timeout} s'
    except EOFError:
        process.join(5)
        return 'crash', f'status {process.exitcode}'


def run(cases,
        seed,
        workers=1,
        kinds=tuple(KINDS),
        watch=lambda outcome: None,
        timeout=TIMEOUT):
    """Run at least ``cases`` cases, as many of each kind; ``watch`` gets each
    outcome.
    """
    numbers = range(-(-cases // len(kinds)))
    with ThreadPoolExecutor(workers) as pool:
        found = pool.map(
            lambda kind: _run_kind(kind, numbers, seed, timeout, watch), kinds)
        return [outcome for outcomes in found for outcome in outcomes]


def table(outcomes):
    """Counts by kind and result, as text."""
    results = [*GOOD, *sorted({o.result for o in outcomes} - set(GOOD))]
    lines = [f'{"kind":20}' + ''.join(f'{r:>13}' for r in results)]
    for kind in (*sorted({o.kind for o in outcomes}), 'all'):
        some = [o for o in outcomes if kind in (o.kind, 'all')]
        counts = Counter(o.result for o in some)
        slowest = max(o.seconds for o in some)
        lines.append(f'{kind:20}' + ''.join(f'{counts[r]:13}'
                                            for r in results) +
                     f'  slowest {slowest:.2f} s')
    return '\n'.join(lines)
