"""What the launcher of several processes says of how they ended."""
import json
import os
import runpy
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from torch.distributed.elastic.multiprocessing.errors import ProcessFailure

ROOT = Path(__file__).resolve().parents[2]
TOOL = str(ROOT / 'tools/launch.py')
launcher = runpy.run_path(str(ROOT / 'tools/launch_failures.py'))


@pytest.fixture
def failure(tmp_path):
    """Function that makes a failure as torchrun gathers it."""

    def make(rank, exitcode, message=None, kind='traceback', time=0):
        path = tmp_path / f'{rank}.json'
        if message is not None:
            extra = dict(timestamp='5', nanoseconds=time, kind=kind)
            path.write_text(
                json.dumps(
                    dict(message=dict(message=message, extraInfo=extra))))
        return ProcessFailure(rank, 100 + rank, exitcode, str(path))

    return make


def ending(failures, received=None):
    """Exit status and last lines."""
    failures = {f.local_rank: f for f in failures}
    left = launcher['by_themselves'](failures, received)
    status = launcher['exit_status'](failures, received)
    return status, '\n'.join(launcher['explain'](left) if left else [])


def test_first_traceback_counts(failure):
    """Also before one that came later from a process of lower rank."""
    assert ending([
        failure(0, 1, 'KeyError: 1', time=8),
        failure(1, 1, 'KeyError: 2', time=7),
        failure(2, -15)
    ]) == (1, 'Process 1 (pid 101) failed: KeyError: 2\nIts traceback is '
           'above.')


@pytest.mark.parametrize('exitcode, status, text', [
    (-9, 137, 'was killed by SIGKILL, as the system does when memory runs'),
    (-11, 139, 'was killed by SIGSEGV'),
    (3, 3, 'left with status 3'),
])
def test_process_without_a_word(failure, exitcode, status, text):
    """Others lose it, or are ended by torchrun."""
    found, lines = ending([
        failure(0, 1, 'Lost the other processes', 'lost', 1),
        failure(1, exitcode),
        failure(2, -15)
    ])
    assert found == status and lines.startswith(f'Process 1 (pid 101) {text}')


def test_explained_errors_are_told_once(failure):
    text = 'FileNotFoundError: iter_1.pth not found.'
    assert ending([failure(rank, 1, text, 'explained', 9 - rank)
                   for rank in range(3)]) == (1, text)  # yapf: disable
    assert ending([
        failure(0, 1, 'on machine 0', 'explained', 2),
        failure(1, 1, 'on machine 1', 'explained', 1)
    ]) == (1, 'on machine 1\non machine 0')


def test_torchrun_may_be_faster_than_a_process_leaves(failure):
    """Another lost it and left first; then torchrun ended it too."""
    lost = failure(1, 1, 'Lost the other processes', 'lost', 2)
    first = failure(0, -15, 'the fault', 'explained', 1)
    assert ending([first, lost]) == (1, 'the fault')
    first = failure(0, -15, 'KeyError: 1', 'traceback', 1)
    status, text = ending([first, lost])
    assert status == 1 and 'failed: KeyError: 1' in text


def test_only_the_losers_are_left(failure):
    status, text = ending([failure(0, 1, 'Lost: closed', 'lost')])
    assert status == 1 and 'Lost: closed\nNo process reported an error' in text


def test_interrupted_run(failure):
    """All saved and left with the same status, which a scheduler sees."""
    assert ending([failure(0, 75), failure(1, 75)]) == (75, '')
    # one was still starting
    assert ending([failure(0, 75), failure(1, -15)], 15) == (75, '')
    # one process alone got the signal, and torchrun ended the other
    assert ending([failure(0, 75), failure(1, -15)]) == (75, '')
    assert ending([failure(0, 75), failure(1, -9)], 15)[0] == 137


WORKER = """
import os, signal, sys, time
def leave(number, frame):
    time.sleep(0.5)  # a checkpoint
    open(f'saved_{os.environ["RANK"]}', 'w').close()
    sys.exit(75)
signal.signal(signal.SIGTERM, leave)
open(f'started_{os.environ["RANK"]}', 'w').close()
time.sleep(60)
"""


@pytest.mark.parametrize('number', [signal.SIGTERM])
def test_signals_reach_the_processes(tmp_path, number):
    (tmp_path / 'worker.py').write_text(WORKER)
    process = subprocess.Popen(
        [
            sys.executable, TOOL, '--standalone', '--nproc-per-node=2',
            '--local-addr=127.0.0.1', 'worker.py'
        ],  # yapf: disable
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        env=dict(os.environ, OMP_NUM_THREADS='1'))
    try:
        end = time.time() + 60
        while len(list(tmp_path.glob('started_*'))) < 2:
            assert time.time() < end and process.poll() is None
            time.sleep(0.1)
        process.send_signal(number)
        _, shown = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 75, shown
    assert len(list(tmp_path.glob('saved_*'))) == 2
    assert 'Traceback' not in shown
