"""The shell launchers start the right command with the right environment.

They run with a stub in place of Python that writes down how it was called.
"""
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ROOT / 'tools'
CONFIG = 'my config.py'
TRAIN = 'dist_train_gan.sh'
STUB = """#!{python}
import json, os, sys
json.dump(dict(arguments=sys.argv[1:], environment=dict(os.environ),
               folder=os.getcwd()), open(os.environ['RECORD'], 'w'))
sys.exit(int(os.environ.get('STATUS', 0)))
"""
OURS = ('PORT', 'NNODES', 'NODE_RANK', 'MASTER_ADDR', 'GPUS', 'GPUS_PER_NODE',
        'CPUS_PER_TASK', 'SRUN_ARGS', 'PYTHONPATH', 'MBOS_VENV', 'MASTER_PORT')


def write_script(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


class Launcher:
    """Runs launchers in a folder with a stub in place of Python."""

    def __init__(self, folder):
        self.folder, self.bin = folder, folder / 'bin'
        self.record = folder / 'record.json'
        self.stub = STUB.format(python=sys.executable)
        self.python = write_script(self.bin / 'stub', self.stub)

    def run(self, script, *arguments, **environment):
        env = {k: v for k, v in os.environ.items() if k not in OURS}
        env |= dict(PATH=f'{self.bin}:{os.environ["PATH"]}')
        env |= dict(PYTHON=str(self.python), RECORD=str(self.record))
        return subprocess.run([str(TOOLS / script), *arguments],
                              cwd=self.folder,
                              env=env | environment,
                              capture_output=True,
                              text=True)

    def call(self, script, *arguments, **environment):
        """Run a launcher and return what the stub saw."""
        done = self.run(script, *arguments, **environment)
        assert done.returncode == 0, done.stderr
        return json.loads(self.record.read_text())


@pytest.fixture
def launcher(tmp_path):
    return Launcher(tmp_path)


@pytest.mark.parametrize('script, files, arguments, tool', [
    ('dist_train_multi_task.sh', [CONFIG], ['--options', 'a=c d'], 'train'),
    (TRAIN, [CONFIG], ['--seed', '1'], 'train'),
    ('dist_test_gan.sh', [CONFIG, 'a.pth'], ['--source', 'refuge'], 'test'),
])  # yapf: disable
def test_command(launcher, script, files, arguments, tool):
    seen = launcher.call(script, *files, '2', *arguments)
    assert seen['arguments'] == [
        str(TOOLS / 'launch.py'), '--standalone', '--local-addr=127.0.0.1',
        '--nproc-per-node=2',
        str(TOOLS / f'{tool}.py'), *files, '--launcher', 'pytorch', *arguments
    ]
    assert seen['folder'] == str(launcher.folder)
    assert seen['environment']['PYTHONPATH'] == str(ROOT)


def test_several_machines(launcher):
    given = dict(PORT='1234', NNODES='3', NODE_RANK='2', MASTER_ADDR='m1')
    seen = launcher.call(TRAIN, CONFIG, '1', **given)
    assert seen['arguments'][1:5] == [
        '--nnodes=3', '--node-rank=2', '--master-addr=m1', '--master-port=1234'
    ]


@pytest.mark.parametrize('script, arguments, environment, said', [
    ('dist_test_gan.sh', [CONFIG, 'iter_1.pth'], {}, 'usage: tools/dist_test'),
    ('slurm_test.sh', ['part', 'job', CONFIG], {}, 'tools/slurm_test.sh'),
    (TRAIN, [CONFIG, '0'], {}, 'GPUS'),
    (TRAIN, [CONFIG, '1'], dict(NNODES='2', NODE_RANK='0'), 'MASTER_ADDR'),
    (TRAIN, [CONFIG, '1'], dict(PYTHON='none'), 'PYTHON=none'),
])  # yapf: disable
def test_wrong_usage(launcher, script, arguments, environment, said):
    done = launcher.run(script, *arguments, **environment)
    assert done.returncode == 2 and said in done.stderr
    assert not launcher.record.exists(), 'something was started'


def test_exit_status(launcher):
    assert launcher.run(TRAIN, CONFIG, '1', STATUS='7').returncode == 7


def test_environment_of_the_checkout_is_found(launcher):
    """Without PYTHON, a copy of the checkout uses its own .venv."""
    copy = launcher.folder / 'copy of checkout'
    for script in ('dist_launch.sh', TRAIN):
        write_script(copy / 'tools' / script, (TOOLS / script).read_text())
    write_script(copy / '.venv/bin/python', launcher.stub)
    seen = launcher.call(copy / 'tools' / TRAIN, CONFIG, '1', PYTHON='')
    assert seen['arguments'][4] == str(copy / 'tools/train.py')
    assert seen['environment']['PYTHONPATH'] == str(copy)


def test_slurm(launcher):
    write_script(launcher.bin / 'srun', launcher.stub)
    given = dict(GPUS='16', SRUN_ARGS='--time=1:00 --quiet', PORT='4321')
    seen = launcher.call('slurm_train.sh', 'gpu', 'first try', CONFIG,
                         '--work-dir', 'w', **given)
    assert seen['arguments'] == [
        '--partition=gpu', '--job-name=first try', '--gres=gpu:8',
        '--ntasks=16', '--ntasks-per-node=8', '--cpus-per-task=5',
        '--kill-on-bad-exit=1', '--time=1:00', '--quiet',
        str(launcher.python), '-u',
        str(TOOLS / 'train.py'), CONFIG, '--launcher', 'slurm', '--work-dir',
        'w'
    ]
    assert seen['environment']['MASTER_PORT'] == '4321'
