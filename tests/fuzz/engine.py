"""Runs cases in processes of their own, so that a crash or a hang is seen."""
import logging
import multiprocessing
import os
import resource
import shutil
import tempfile
import time
import traceback
from collections import namedtuple
from concurrent.futures import ThreadPoolExecutor
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
TIMEOUT = 20.0  # seconds, after which a case hangs; of a config six times
MEMORY = 2 * 1024**3  # bytes that a process may add to those of its start
FAULTY = dict(
    crash=lambda folder: os.abort(),
    hang=lambda folder: time.sleep(60),
    wrong_error=lambda folder: bytes(10**11),  # too much memory
    wrong_name=lambda folder: int('x'),
    wrong_half=lambda folder: (folder / 'out.tmp').touch(),
    read=lambda folder: None)
"""dict: Readers that do what must not happen, by what becomes of them."""

Outcome = namedtuple('Outcome', 'kind number result detail', defaults=[''])
"""What became of a case: ``read`` or ``refused``, or what must not happen,
``wrong`` (an error or a result), ``crash``, ``hang``."""


def judge(kind, number, seed, folder):
    """Run one case in this process; number 0 is without any damage."""
    DAMAGE['on'] = number > 0
    rng = np.random.default_rng([seed, *kind.encode(), number])
    if kind in FAULTY:
        names, read = ['file'], lambda: FAULTY[kind](folder)
    else:
        names, read = KINDS[kind](rng, folder)
    result = 'read'
    try:
        try:
            read()
        except EXPECTED_ERRORS as error:
            result = 'refused'
            assert any(name in str(error) for name in names), 'is not named'
        assert number > 0 or result == 'read', 'a whole file was refused'
        assert not [*folder.rglob('*.tmp')], 'half-written'
        assert not Path('hostile_code_was_run').exists()
    except Exception:
        return 'wrong', traceback.format_exc()[-3000:]
    return result, ''


def _work(pipe, kind, numbers, seed, folder):
    """Run the cases of a process, and send what became of them."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    logging.disable(logging.CRITICAL)
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


def _run_kind(kind, numbers, seed, timeout):
    """Run cases of a kind; their process is replaced when it dies."""
    # not forked from this process, whose threads may hold locks
    context = multiprocessing.get_context('forkserver')
    context.set_forkserver_preload([__name__])
    timeout *= 6 if kind in config_kinds.KINDS else 1
    outcomes, left = [], list(numbers)
    with tempfile.TemporaryDirectory(prefix='fuzz_') as folder:
        while left:
            pipe, other = context.Pipe()
            process = context.Process(
                target=_work, args=(other, kind, left, seed, folder))
            process.start()
            other.close()
            pipe.recv()
            lives = True
            while left and lives:
                found, lives = ('crash', ), False
                try:
                    lives = pipe.poll(timeout)
                    found = pipe.recv() if lives else ('hang', )
                except EOFError:
                    lives = False
                outcomes.append(Outcome(kind, left.pop(0), *found))
            process.kill()
            process.join()
    return outcomes


def run(numbers, seed, workers=1, kinds=tuple(KINDS), timeout=TIMEOUT):
    """Run the cases of these numbers of each kind."""
    with ThreadPoolExecutor(workers) as pool:
        found = pool.map(lambda kind: _run_kind(kind, numbers, seed, timeout),
                         kinds)
        return [outcome for outcomes in found for outcome in outcomes]
