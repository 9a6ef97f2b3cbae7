"""The kill test as a command of its own: a few kills, or many."""
import re
import subprocess
import sys

import pytest

from tests.tiny_runs import ROOT, script_environment


@pytest.mark.parametrize('arguments, half', [
    (('--kills', '2', '--parts', 'stage1'), 1),
    pytest.param(('--kills', '8', '--seed', '1'), 8, marks=pytest.mark.slow),
])
def test_kills(arguments, half):
    done = subprocess.run(
        [sys.executable, '-m', 'tests.test_reliability.kills', *arguments],
        cwd=ROOT, env=script_environment(), capture_output=True, text=True,
        timeout=1500)  # yapf: disable
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert int(re.findall(r'(\d+) while', done.stdout)[-1]) >= half
