"""tools/setup_env.sh: order, what is missing, nothing done twice.

It runs on a copy of the checkout's scripts with a stub in place of Python: the
stub makes the folders that pip would make and writes down what was asked for.
"""
import os
import re
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
STUB = r'''#!/bin/sh
log() { echo "$@" >>"$LOG"; }
fail() {
    case $* in *"${FAIL:-no step}"*) echo no such network >&2 && exit 1 ;; esac
}
case "$*" in
-V) echo 'Python 3.11.7' ;;
-c*'# probe'*) test -z "$OLD" ;;
-c*'# reach'*) test -n "$REACHABLE" ;;
'-m mbos.install_mmcv'*) shift 2; log mmcv "$@"; fail mmcv ;;
'-m mbos info') log verify ;;
'-m venv'*)
    log venv
    mkdir -p "$3/lib/python3.11/site-packages" "$3/bin"
    echo 'version = 3.11.7' >"$3/pyvenv.cfg"
    cp "$0" "$3/bin/python" ;;
'-m pip install'*) shift 3; log install "$@"; sleep 0.05; fail "$@" ;;
esac
'''


class Sandbox:
    """A checkout, a home and a PATH without a compiler."""

    def __init__(self, folder):
        self.root, self.bin = folder / 'checkout', folder / 'bin'
        self.home, self.log = folder, folder / 'log'
        (self.root / 'tools').mkdir(parents=True)
        shutil.copy(ROOT / 'tools' / 'setup_env.sh', self.root / 'tools')
        shutil.copy(ROOT / 'requirements.txt', self.root)
        self.bin.mkdir()
        for name in ('bash', 'cat', 'chmod', 'cmp', 'cp', 'dirname', 'flock',
                     'ls', 'mkdir', 'rm', 'sed', 'sleep'):
            (self.bin / name).symlink_to(shutil.which(name))
        self.script('uname', '#!/bin/sh\necho Linux x86_64\n')
        self.script('python3.11', STUB)

    def script(self, name, text='#!/bin/sh\n'):
        (self.bin / name).write_text(text)
        (self.bin / name).chmod(0o755)

    def run(self, *arguments, **environment):
        env = dict(PATH=str(self.bin), HOME=str(self.home), LOG=str(self.log))
        script = str(self.root / 'tools' / 'setup_env.sh')
        return subprocess.run(['bash', script, *arguments],
                              env=env | environment,
                              capture_output=True,
                              text=True,
                              cwd=self.home)

    def steps(self):
        """What the stub did since the last look, the first words."""
        found = self.log.read_text() if self.log.exists() else ''
        self.log.unlink(missing_ok=True)
        return [line.split()[0] for line in found.splitlines()]


@pytest.fixture
def sandbox(tmp_path):
    return Sandbox(tmp_path)


def test_fresh_environment_without_a_compiler(sandbox):
    done = sandbox.run()
    assert done.returncode == 0, done.stderr
    text = (ROOT / 'requirements.txt').read_text()
    torch, vision = (re.search(rf'^{name}==\S+', text, re.M)[0]
                     for name in ('torch', 'torchvision'))  # yapf: disable
    assert sandbox.log.read_text().splitlines() == [
        'venv', f'install -q {torch} {vision}',
        f'install -q -r {sandbox.root}/requirements.txt', 'mmcv', 'verify'
    ]
    site = sandbox.root / '.venv' / 'lib' / 'python3.11' / 'site-packages'
    assert (site / 'mbos.pth').read_text().strip() == str(sandbox.root)
    command = sandbox.root / '.venv/bin/mbos'
    assert '-m mbos' in command.read_text() and os.access(command, os.X_OK)
    # a second time nothing, unless the requirements or the options change
    sandbox.log.unlink()
    assert 'all in place' in sandbox.run().stdout and sandbox.steps() == []
    with open(sandbox.root / 'requirements.txt', 'a') as file:
        file.write('tqdm\n')
    assert sandbox.run().returncode == 0
    assert sandbox.steps() == ['install', 'install', 'mmcv', 'verify']
    sandbox.script('c++')
    assert sandbox.run(MBOS_MMCV='full').returncode == 0
    assert 'mmcv --full' in sandbox.log.read_text()


def test_parallel_runs_install_once(sandbox):
    with ThreadPoolExecutor() as pool:
        done = list(pool.map(lambda _: sandbox.run(), range(3)))
    assert [d.returncode for d in done] == [0, 0, 0], done
    assert sandbox.steps() == ['venv', 'install', 'install', 'mmcv', 'verify']
    assert sum('all in place' in d.stdout for d in done) == 2


def test_stopped_half_way_goes_on(sandbox):
    done = sandbox.run(FAIL='torch')
    assert done.returncode == 1 and 'no such network' in done.stderr
    assert 'https_proxy' in done.stderr.splitlines()[-1]
    assert 'verify' not in sandbox.steps()
    assert sandbox.run().returncode == 0
    assert sandbox.steps() == ['install', 'install', 'mmcv', 'verify']


@pytest.mark.parametrize('gpu, environment, why, index', [
    (False, {}, 'no CPU build', ''),
    (True, dict(REACHABLE='1'), 'there is an NVIDIA GPU', ''),
    (False, dict(REACHABLE='1'), '',
     '--index-url https://download.pytorch.org/whl/cpu '),
    (False, dict(MBOS_TORCH_INDEX='u://x'), '', '--index-url u://x '),
])
def test_which_torch_and_why(sandbox, gpu, environment, why, index):
    if gpu:
        sandbox.script('nvidia-smi')
    done = sandbox.run(**environment)
    assert done.returncode == 0 and why in done.stdout
    assert ('the CUDA build' in done.stdout) == bool(why)
    assert f'install -q {index}torch==' in sandbox.log.read_text()


@pytest.mark.parametrize('argument, environment, status, said', [
    ('', dict(OLD='1'), 1, 'no Python 3.11 to 3.13.*python3.13.*PYTHON='),
    ('', dict(MBOS_MMCV='full'), 1, 'compiler'),
    ('', dict(MBOS_VENV='log/venv'), 1, 'set MBOS_VENV to a folder that can'),
    ('--check', {}, 0, 'nothing is missing'),
    ('', dict(MBOS_SETUP='0'), 0, ''),
    ('--what', {}, 2, ''),
])
def test_runs_that_change_nothing(sandbox, argument, environment, status,
                                  said):
    sandbox.log.touch()
    files = set(sandbox.bin.iterdir())
    done = sandbox.run(*filter(None, [argument]), **environment)
    assert done.returncode == status
    assert re.search(said, done.stdout + done.stderr), done
    assert sandbox.steps() == []
    assert not (sandbox.root / '.venv').exists()
    assert set(sandbox.bin.iterdir()) == files
