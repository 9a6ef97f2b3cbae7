"""The kill test as a command of its own: a few kills, or many."""
import json
import subprocess
import sys

import pytest

from tests.tiny_runs import ROOT, script_environment


@pytest.mark.parametrize('arguments, kills, half, parts', [
    (('--kills', '2', '--parts', 'stage1'), 2, 1, 1),
    pytest.param(('--kills', '8', '--seed', '1'), 32, 8, 4,
                 marks=pytest.mark.slow),
])  # yapf: disable
def test_kills(arguments, kills, half, parts):
    done = subprocess.run(
        [sys.executable, '-m', 'tests.test_reliability.kills', *arguments],
        cwd=ROOT,
        env=script_environment(),
        capture_output=True,
        text=True,
        timeout=1500)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    found = json.loads(done.stdout[done.stdout.rindex('\n{'):])
    assert found['kills'] == kills and found['while_writing'] >= half
    assert len(found['equal']) == parts
