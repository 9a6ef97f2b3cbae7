"""What the launcher of several processes says of their end.

Signals that it passes on: test_reliability/test_launched.py.
"""
import json
import os
import runpy
from pathlib import Path

import pytest
import torch
from torch.distributed.elastic.multiprocessing.errors import ProcessFailure

TOOL = str(Path(__file__).resolve().parents[2] / 'tools/launch.py')
LAUNCHER = runpy.run_path(TOOL)
ending = LAUNCHER['ending']
LOST = (1, 'Lost the other processes', 'lost', 9)
BOTH = 'on machine 0\non machine 1'


# Of each process the exit status, and perhaps its note: message, kind, time.
@pytest.mark.parametrize('processes, status, text', [
    # the first traceback counts, whatever the rank
    ([(1, 'KeyError: 1', 'traceback', 8), (1, 'KeyError: 2', 'traceback', 7),
      (-15, )], 1, 'Process 1 (pid 101) failed: KeyError: 2\nIts traceback'),
    # a process that ends without a word; others lose it or are ended
    ([LOST, (-9, ), (-15, )], 137, 'Process 1 (pid 101) was killed by SIGK'),
    # what is explained is said once, and all of it
    ([(1, 'no file', 'explained', 9 - r) for r in range(3)], 1, 'no file'),
    ([(1, 'on machine 0', 'explained', 1), (1, 'on machine 1', 'explained', 2)
      ], 1, BOTH),
    # ended by torchrun on its way out, as another lost it and left first
    ([(-15, 'the fault', 'explained', 1), LOST], 1, 'the fault'),
    ([(-15, 'KeyError: 1', 'traceback', 1), LOST], 1,
     'Process 0 (pid 100) failed: KeyError: 1'),
    ([LOST], 1, 'Process 0 (pid 100) Lost the other processes\nNo process'),
    # all saved and left with the status that a scheduler sees
    ([(75, ), (75, )], 75, ''),
    # the signal reached one alone, and torchrun ended the other
    ([(75, ), (-15, )], 75, ''),
])  # yapf: disable
def test_ending(tmp_path, processes, status, text):
    failures = {}
    for rank, (code, *note) in enumerate(processes):
        path = tmp_path / f'{rank}.json'
        if note:
            extra = dict(timestamp='5', kind=note[1], nanoseconds=note[2])
            message = dict(message=note[0], extraInfo=extra)
            path.write_text(json.dumps(dict(message=message)))
        failures[rank] = ProcessFailure(rank, 100 + rank, code, str(path))
    found = ending(failures)
    assert found[0] == status
    assert found[1].startswith(text) and bool(found[1]) == bool(text)


def test_a_signal_before_training_has_begun():
    for code, status in ((-15, 75), (-9, 137)):
        failures = {0: ProcessFailure(0, 0, 75, 'none'),
                    1: ProcessFailure(1, 1, code, 'none')}  # yapf: disable
        assert ending(failures, received=15)[0] == status


@pytest.mark.parametrize('gpus, cores, processes, given, threads', [
    (0, 7, 2, {}, '3'),
    (0, 8, 1, dict(OMP_NUM_THREADS='5'), '5'),
    (4, 64, 4, {}, '1'),
])
def test_cores_are_shared_out(monkeypatch, gpus, cores, processes, given,
                              threads):
    monkeypatch.setattr(os, 'environ', given)
    monkeypatch.setattr(os, 'sched_getaffinity', lambda pid: range(cores))
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: gpus)
    LAUNCHER['share_cores'](processes)
    assert given['OMP_NUM_THREADS'] == given['MKL_NUM_THREADS'] == threads
