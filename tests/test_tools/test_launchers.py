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
TRAIN = ('dist_train_gan.sh', CONFIG)
STUB = """#!{python}
import json, os, sys
json.dump(dict(arguments=sys.argv[1:], environment=dict(os.environ),
               folder=os.getcwd()), open(os.environ['RECORD'], 'w'))
sys.exit(int(os.environ.get('STATUS', 0)))
"""
OURS = ('PORT', 'NNODES', 'NODE_RANK', 'MASTER_ADDR', 'GPUS', 'GPUS_PER_NODE',
        'CPUS_PER_TASK', 'SRUN_ARGS', 'PYTHONPATH', 'CUDA_VISIBLE_DEVICES',
        'OMP_NUM_THREADS', 'MKL_NUM_THREADS', 'MBOS_VENV', 'MASTER_PORT')


def write_script(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


class Launcher:
    """Runs launchers in a folder with a config, a checkpoint and stubs."""

    def __init__(self, folder):
        self.folder = folder
        self.bin = folder / 'bin'
        self.record = folder / 'record.json'
        self.python = write_script(self.bin / 'stub',
                                   STUB.format(python=sys.executable))
        self.set_gpus(0)
        self.set_cores(8)
        (folder / CONFIG).touch()
        (folder / 'iter_1.pth').touch()

    def set_gpus(self, count):
        lines = '\n'.join(f'echo "GPU {i}: Some GPU"' for i in range(count))
        write_script(self.bin / 'nvidia-smi',
                     f'#!/bin/sh\n{lines or "exit 9"}\n')

    def set_cores(self, count):
        write_script(self.bin / 'nproc', f'#!/bin/sh\necho {count}\n')

    def run(self, script, *arguments, **environment):
        env = {k: v for k, v in os.environ.items() if k not in OURS}
        env.update(
            PATH=f'{self.bin}:{os.environ["PATH"]}',
            PYTHON=str(self.python),
            RECORD=str(self.record))
        env.update(environment)
        self.record.unlink(missing_ok=True)
        return subprocess.run([str(script), *arguments],
                              cwd=self.folder,
                              env=env,
                              capture_output=True,
                              text=True)

    def call(self, script, *arguments, **environment):
        """Run a launcher of this checkout and return what the stub saw."""
        done = self.run(TOOLS / script, *arguments, **environment)
        assert done.returncode == 0, done.stderr
        return json.loads(self.record.read_text())

    def fail(self, script, *arguments, **environment):
        """Run a launcher that must refuse; return its message."""
        done = self.run(TOOLS / script, *arguments, **environment)
        assert done.returncode == 2
        assert not self.record.exists(), 'something was started'
        return done.stderr


@pytest.fixture
def launcher(tmp_path):
    return Launcher(tmp_path)


@pytest.mark.parametrize('script, files, arguments, tool', [
    ('dist_train_multi_task.sh', [CONFIG],
     ['--seed', '1', '--cfg-options', 'a.b=c d'], 'train.py'),
    ('dist_train_gan.sh', [CONFIG], ['--seed', '1'], 'train.py'),
    ('dist_test_gan.sh', [CONFIG, 'iter_1.pth'], [
        '--vis', '--source', 'refuge', '--output_dir', 'out', '--eval', 'mIoU',
        '--OD'
    ], 'test.py'),
])
def test_command(launcher, script, files, arguments, tool):
    seen = launcher.call(script, *files, '2', *arguments)
    assert seen['arguments'] == [
        str(TOOLS / 'launch.py'), '--standalone', '--local-addr=127.0.0.1',
        '--nproc-per-node=2',
        str(TOOLS / tool), *files, '--launcher', 'pytorch', *arguments
    ]
    assert seen['folder'] == str(launcher.folder)
    assert seen['environment']['PYTHONPATH'] == str(ROOT)


def test_config_of_the_checkout_from_another_folder(launcher):
    seen = launcher.call('dist_train_gan.sh', 'setup.py', '1')
    assert seen['arguments'][5] == str(ROOT / 'setup.py')
    # that of the working directory comes first
    (launcher.folder / 'setup.py').touch()
    seen = launcher.call('dist_train_gan.sh', 'setup.py', '1')
    assert seen['arguments'][5] == 'setup.py'


@pytest.mark.parametrize('environment, expected', [
    (dict(PORT='1234'), ('1', '0', '127.0.0.1', '1234')),
    (dict(NNODES='3', NODE_RANK='2', MASTER_ADDR='10.0.0.1'),
     ('3', '2', '10.0.0.1', '29500')),
])
def test_several_machines(launcher, environment, expected):
    seen = launcher.call(*TRAIN, '1', **environment)
    names = ('nnodes', 'node-rank', 'master-addr', 'master-port')
    assert seen['arguments'][1:5] == [
        f'--{name}={value}' for name, value in zip(names, expected)
    ]


@pytest.mark.parametrize('cores, processes, given, threads', [
    (7, 2, {}, '3'),
    (2, 3, {}, '1'),
    (8, 1, dict(OMP_NUM_THREADS='5'), '5'),
])
def test_cores_are_shared_out(launcher, cores, processes, given, threads):
    launcher.set_cores(cores)
    seen = launcher.call(*TRAIN, str(processes), **given)
    assert seen['environment']['OMP_NUM_THREADS'] == threads
    assert seen['environment']['MKL_NUM_THREADS'] == threads


@pytest.mark.parametrize('gpus, visible, processes, fits', [
    (2, None, 2, True),
    (4, 'GPU-1a,GPU-1b', 2, True),
    (2, '', 3, True),
    (2, None, 3, False),
    (4, '0,1,-1,3', 3, False),
])
def test_processes_and_gpus(launcher, gpus, visible, processes, fits):
    launcher.set_gpus(gpus)
    environment = {} if visible is None else {'CUDA_VISIBLE_DEVICES': visible}
    if fits:
        seen = launcher.call(*TRAIN, str(processes), **environment)
        assert f'--nproc-per-node={processes}' in seen['arguments']
    else:
        message = launcher.fail(*TRAIN, str(processes), **environment)
        assert '3 processes' in message and '2 GPU(s)' in message


@pytest.mark.parametrize('environment, script, arguments, said', [
    ({}, 'dist_train_gan.sh', [], 'usage: tools/dist_train_gan.sh'),
    ({}, 'dist_train_multi_task.sh', [CONFIG], 'usage: tools/dist_train'),
    ({}, 'dist_test_gan.sh', [CONFIG, 'iter_1.pth'], 'usage: tools/dist'),
    ({}, 'slurm_train.sh', ['part', 'job'], 'tools/slurm_train.sh'),
    ({}, 'slurm_test.sh', ['part', 'job', CONFIG], 'tools/slurm_test.sh'),
    ({}, 'dist_train_gan.sh', ['no.py', '1'], 'config not found: no.py'),
    ({}, 'dist_test_gan.sh', [CONFIG, 'no.pth', '1'], 'not found: no.pth'),
    ({}, TRAIN[0], [CONFIG, '0'], 'GPUS'),
    ({}, TRAIN[0], [CONFIG, '1.5'], 'GPUS'),
    (dict(NNODES='2', NODE_RANK='0'), TRAIN[0], [CONFIG, '1'], 'MASTER_ADDR'),
    (dict(NNODES='2', MASTER_ADDR='a',
          NODE_RANK='2'), TRAIN[0], [CONFIG, '1'], 'NODE_RANK'),
    (dict(PORT='http'), TRAIN[0], [CONFIG, '1'], 'PORT'),
])
def test_wrong_usage(launcher, environment, script, arguments, said):
    assert said in launcher.fail(script, *arguments, **environment)


def test_help_and_status(launcher):
    done = launcher.run(TOOLS / 'dist_test_gan.sh', '--help')
    assert done.returncode == 0
    assert 'usage: tools/dist_test_gan.sh CONFIG CHECKPOINT' in done.stdout
    done = launcher.run(TOOLS / TRAIN[0], CONFIG, '1', STATUS='7')
    assert done.returncode == 7


def test_environment_of_the_checkout_is_found(launcher):
    """Without PYTHON, a copy of the checkout uses its own .venv."""
    copy = launcher.folder / 'copy of checkout'
    for script in ('dist_launch.sh', TRAIN[0]):
        write_script(copy / 'tools' / script, (TOOLS / script).read_text())
    write_script(copy / '.venv/bin/python', launcher.python.read_text())
    done = launcher.run(copy / 'tools' / TRAIN[0], CONFIG, '1', PYTHON='')
    assert done.returncode == 0, done.stderr
    seen = json.loads(launcher.record.read_text())
    assert seen['arguments'][4] == str(copy / 'tools/train.py')
    assert seen['environment']['PYTHONPATH'] == str(copy)


@pytest.mark.parametrize('tool, files, environment, gpus, per_node, cores', [
    ('train', [CONFIG], dict(
        GPUS='16', SRUN_ARGS='--time=1:00 --quiet', PORT='4321'), 16, 8, 5),
    ('test', [CONFIG, 'iter_1.pth'], dict(
        GPUS='2', CPUS_PER_TASK='3'), 2, 2, 3),
])  # yapf: disable
def test_slurm(launcher, tool, files, environment, gpus, per_node, cores):
    write_script(launcher.bin / 'srun', STUB.format(python=sys.executable))
    seen = launcher.call(f'slurm_{tool}.sh', 'gpu', 'first try', *files,
                         '--work-dir', 'w', **environment)
    assert seen['arguments'] == [
        '--partition=gpu', '--job-name=first try', f'--gres=gpu:{per_node}',
        f'--ntasks={gpus}', f'--ntasks-per-node={per_node}',
        f'--cpus-per-task={cores}', '--kill-on-bad-exit=1',
        *environment.get('SRUN_ARGS', '').split(),
        str(launcher.python), '-u',
        str(TOOLS / f'{tool}.py'), *files, '--launcher', 'slurm', '--work-dir',
        'w'
    ]
    assert seen['environment'].get('MASTER_PORT') == environment.get('PORT')
