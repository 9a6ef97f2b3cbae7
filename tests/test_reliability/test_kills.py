"""The kill test as a command of its own: a few kills, or many."""
import json
import os
import subprocess
import sys

import pytest

from tests.tiny_runs import ROOT


def run_kills(*arguments):
    done = subprocess.run(
        [sys.executable, '-m', 'tests.test_reliability.kills', *arguments],
        cwd=ROOT,
        env=dict(os.environ, CUDA_VISIBLE_DEVICES='', OMP_NUM_THREADS='1'),
        capture_output=True,
        text=True,
        timeout=1500)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return json.loads(done.stdout[done.stdout.rindex('\n{'):])


def test_a_few_kills():
    found = run_kills('--kills', '2', '--parts', 'stage1', 'labels')
    assert found['kills'] == 4 and found['while_writing'] >= 1
    assert set(found['equal']) == {'stage 1', 'pseudo labels'}


@pytest.mark.slow
def test_many_kills():
    found = run_kills('--kills', '8', '--seed', '1')
    assert found['kills'] == 32 and found['while_writing'] >= 8
    assert len(found['equal']) == 4
