"""tools/setup_env.sh: order, cache, what is missing, nothing done twice.

It runs on a copy of the checkout's scripts with a stub in place of Python: the
stub makes the folders that pip would make and writes down what was asked for.
"""
import hashlib
import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
STUB = r'''#!@PYTHON@
import os, pathlib, shutil, sys, time
here = pathlib.Path(__file__).resolve()
arguments = sys.argv[1:]
log = open(os.environ['LOG'], 'a')


def install(name, version):
    site = here.parents[1] / 'lib' / 'python3.11' / 'site-packages'
    (site / f'{name}-{version}.dist-info').mkdir(parents=True, exist_ok=True)


if arguments == ['-V']:
    print('Python 3.11.7')
elif arguments[0] == '-c':
    if '# probe' in arguments[1]:
        print(os.environ.get('PROBE', '3.11 /include'))
    else:  # whether the CPU index answers
        sys.exit(0 if os.environ.get('REACHABLE') else 1)
elif arguments[0] == '-':
    print('verify', file=log)
elif arguments[:2] == ['-m', 'venv']:
    print('venv', file=log)
    bin = pathlib.Path(arguments[2]) / 'bin'
    bin.mkdir(parents=True, exist_ok=True)
    shutil.copy(here, bin / 'python')
elif arguments[:3] == ['-m', 'pip', 'wheel']:
    print('compile', repr(os.environ['CUDA_VISIBLE_DEVICES']), file=log)
    log.flush()
    folder = pathlib.Path(arguments[arguments.index('-w') + 1])
    wheel = folder / 'mmcv_full-1.7.2-cp311-cp311-linux_x86_64.whl'
    wheel.write_text('half')
    if os.environ.get('FAIL'):
        print('error: something did not compile')
        sys.exit(1)
    time.sleep(0.5)
    wheel.write_text('whole')
elif arguments[:3] == ['-m', 'pip', 'install']:
    print('install', *arguments[3:], file=log)
    for name, tail in (('torch==', ''), ('torchvision==', '')):
        for one in arguments:
            if one.startswith(name):
                local = '+cpu' if any('/cpu' in a for a in arguments) else ''
                install(name[:-2], one[len(name):] + local)
    if arguments[-1].endswith('.whl'):
        assert pathlib.Path(arguments[-1]).read_text() == 'whole'
        install('mmcv_full', '1.7.2')
'''


class Sandbox:
    """A checkout, a home and a PATH with little more than stubs."""

    def __init__(self, folder):
        self.root = folder / 'checkout'
        self.log = folder / 'log'
        self.cache = folder / 'cache'
        self.bin = folder / 'bin'
        (self.root / 'tools').mkdir(parents=True)
        shutil.copy(ROOT / 'tools' / 'setup_env.sh', self.root / 'tools')
        shutil.copy(ROOT / 'requirements.txt', self.root)
        self.bin.mkdir()
        for name in ('awk', 'bash', 'cat', 'c++', 'dirname', 'df', 'flock',
                     'grep', 'head', 'mkdir', 'mktemp', 'mv', 'nproc', 'rm',
                     'readlink', 'sed', 'sha256sum', 'tail', 'timeout'):
            found = shutil.which(name) or shutil.which('true')
            (self.bin / name).symlink_to(found)
        self.script('python3.11', STUB.replace('@PYTHON@', sys.executable))

    def script(self, name, text):
        (self.bin / name).unlink(missing_ok=True)
        (self.bin / name).write_text(text)
        (self.bin / name).chmod(0o755)

    def run(self, *arguments, **environment):
        env = dict(
            PATH=str(self.bin),
            HOME=str(self.root.parent),
            LOG=str(self.log),
            MBOS_CACHE=str(self.cache))
        env.update(environment)
        script = str(self.root / 'tools' / 'setup_env.sh')
        return subprocess.run(['bash', script, *arguments],
                              env=env,
                              capture_output=True,
                              text=True,
                              cwd=self.root.parent)

    def steps(self):
        """First words of what the stub did."""
        if not self.log.exists():
            return []
        return [line.split()[0] for line in self.log.read_text().splitlines()]

    def lines(self):
        return self.log.read_text().splitlines()

    def wheels(self):
        return sorted(
            str(path.relative_to(self.cache / 'wheels'))
            for path in self.cache.rglob('*.whl'))


@pytest.fixture
def sandbox(tmp_path):
    return Sandbox(tmp_path)


def test_fresh_environment_in_order(sandbox):
    done = sandbox.run()
    assert done.returncode == 0, done.stderr
    assert sandbox.steps() == [
        'venv', 'install', 'install', 'compile', 'install', 'install', 'verify'
    ]
    lines = sandbox.lines()
    assert lines[1] == 'install torch==2.12.1 torchvision==0.27.1'
    assert lines[3] == "compile ''", 'CUDA devices must be hidden'
    assert '--no-deps' in lines[4] and lines[4].endswith('.whl')
    assert lines[5].endswith('requirements.txt')
    assert sandbox.wheels() == [
        'cp311-2.12.1/mmcv_full-1.7.2-cp311-cp311-linux_x86_64.whl'
    ]
    site = sandbox.root / '.venv' / 'lib' / 'python3.11' / 'site-packages'
    assert (site / 'mbos.pth').read_text().strip() == str(sandbox.root)


def test_second_run_does_nothing_in_a_second(sandbox):
    sandbox.run()
    sandbox.log.unlink()
    start = time.time()
    done = sandbox.run()
    assert time.time() - start < 1
    assert done.returncode == 0
    assert 'all in place' in done.stdout
    assert sandbox.steps() == []


def test_changed_requirements_install_without_compiling(sandbox):
    sandbox.run()
    sandbox.log.unlink()
    with open(sandbox.root / 'requirements.txt', 'a') as file:
        file.write('tqdm\n')
    assert sandbox.run().returncode == 0
    assert sandbox.steps() == ['install', 'verify']


def test_other_checkout_takes_the_compiled_wheel(sandbox):
    sandbox.run()
    sandbox.log.unlink()
    done = sandbox.run(MBOS_VENV=str(sandbox.root.parent / 'other'))
    assert done.returncode == 0, done.stderr
    assert 'venv' in sandbox.steps()
    assert 'compile' not in sandbox.steps()


def test_parallel_runs_compile_once(sandbox):

    def run(name):
        return sandbox.run(MBOS_VENV=str(sandbox.root.parent / name))

    with ThreadPoolExecutor() as pool:
        done = list(pool.map(run, ['one', 'one', 'two']))
    assert [d.returncode for d in done] == [0, 0, 0], done
    assert sandbox.steps().count('compile') == 1
    assert sandbox.steps().count('venv') == 2
    assert any('waiting' in d.stdout for d in done)


def test_failed_compilation_leaves_nothing_and_can_be_repeated(sandbox):
    done = sandbox.run(FAIL='1')
    assert done.returncode == 1
    assert 'something did not compile' in done.stderr
    assert 'build.log' in done.stderr
    assert sandbox.wheels() == []
    sandbox.log.unlink()
    assert sandbox.run().returncode == 0
    assert sandbox.steps()[:3] == ['install', 'compile', 'install']


def test_torch_for_cpu_where_its_index_answers(sandbox):
    assert sandbox.run(REACHABLE='1').returncode == 0
    assert sandbox.lines()[1] == (
        'install --index-url https://download.pytorch.org/whl/cpu '
        'torch==2.12.1 torchvision==0.27.1')
    assert sandbox.wheels()[0].startswith('cp311-2.12.1+cpu/')


def test_torch_index_of_the_user(sandbox):
    assert sandbox.run(REACHABLE='1', MBOS_TORCH_INDEX='u://x').returncode == 0
    assert '--index-url u://x' in sandbox.lines()[1]


def test_torch_for_a_gpu(sandbox):
    sandbox.script('nvidia-smi',
                   '#!/bin/sh\necho "| CUDA Version: 12.4     |"\n')
    done = sandbox.run(REACHABLE='1')
    assert done.returncode == 0
    assert '--index-url' not in sandbox.lines()[1]
    assert 'MBOS_TORCH_INDEX' in done.stderr, 'the driver is too old'


@pytest.mark.parametrize('probe, words', [
    ('3.8 /include', ['Python 3.11', '(3.8)', 'PYTHON=']),
    ('3.11 /include novenv', ['venv', 'python3.11-venv']),
    ('3.11 /include noheaders', ['Python headers', 'python3.11-dev']),
])
def test_python_that_does_not_serve(sandbox, probe, words):
    done = sandbox.run(PYTHON='python3.11', PROBE=probe)
    assert done.returncode == 1
    for word in words:
        assert word in done.stderr
    assert sandbox.steps() == [], 'it must say so before it starts'
    assert not (sandbox.root / '.venv').exists()


def test_python_312_serves(sandbox):
    assert sandbox.run(PROBE='3.12 /include').returncode == 0
    assert sandbox.wheels()[0].startswith('cp312-2.12.1/')


def test_everything_missing_is_said_at_once(sandbox):
    (sandbox.bin / 'c++').unlink()
    sandbox.script(
        'df', '#!/bin/sh\necho Filesystem\n'
        f'echo "/dev/x 9 9 {3 * 1024 ** 2} 9% /"\n')
    done = sandbox.run()
    assert done.returncode == 1
    assert 'compiler' in done.stderr and 'build-essential' in done.stderr
    assert '3 GB free' in done.stderr and '8 GB are needed' in done.stderr
    assert sandbox.steps() == []
    # The CPU build would fit, and a compiled wheel needs no compiler.
    done = sandbox.run(REACHABLE='1')
    assert 'disk' not in done.stderr and 'compiler' in done.stderr


def test_check_changes_nothing(sandbox):
    done = sandbox.run('--check')
    assert done.returncode == 0
    assert 'nothing is missing' in done.stdout
    assert sandbox.steps() == []
    assert not (sandbox.root / '.venv').exists()


def test_can_be_left_out(sandbox):
    done = sandbox.run(MBOS_SETUP='0')
    assert done.returncode == 0 and sandbox.steps() == []


def test_wrong_usage(sandbox):
    assert sandbox.run('--what').returncode == 2


def test_help_names_the_variables(sandbox):
    done = sandbox.run('--help')
    assert done.returncode == 0
    assert 'MBOS_TORCH_INDEX' in done.stdout
    assert 'pipefail' not in done.stdout


def test_licence_is_apache():
    text = (ROOT / 'LICENSE').read_bytes()
    assert hashlib.sha256(text).hexdigest() == (
        'cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30')


@pytest.mark.parametrize(
    'line', ['torch', 'mmcv-full==1.7.2', 'mmsegmentation==0.30.0'])
def test_requirements_and_script_agree(line):
    text = (ROOT / 'requirements.txt').read_text()
    script = (ROOT / 'tools' / 'setup_env.sh').read_text()
    assert f'\n{line}' in text
    assert 'MMCV=1.7.2' in script
    assert f'TORCH={_tested("torch", text)}' in script
    assert f'TORCHVISION={_tested("torchvision", text)}' in script


def _tested(name, text):
    line = next(t for t in text.splitlines() if t.startswith(f'{name}>='))
    return line.split('#')[1].strip()


def test_real_environment_is_up_to_date():
    """The environment that runs this test, where the script made it."""
    if not os.path.exists(os.path.join(sys.prefix, '.mbos_stamp')):
        pytest.skip('the environment was not made by tools/setup_env.sh')
    start = time.time()
    done = subprocess.run(
        ['bash', str(ROOT / 'tools' / 'setup_env.sh'), '--check'],
        env=dict(os.environ, MBOS_VENV=sys.prefix, MBOS_SETUP='1'),
        capture_output=True,
        text=True)
    assert time.time() - start < 1
    assert 'all in place' in done.stdout, done.stdout + done.stderr
