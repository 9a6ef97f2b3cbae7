"""Tries MBOS with other versions, in an environment of its own.

    python3.11 tests/compatibility.py oldest FOLDER
    python3.13 tests/compatibility.py newest FOLDER

makes an environment in FOLDER with the Python that runs this, installs the
oldest (lower ends of the ranges in pyproject.toml), the tested
(requirements.txt) or the newest versions, then MBOS, and runs the tests of
this checkout that cover the reference numbers, both training stages,
prediction and export. Without the index of torch's CPU builds, the first
command needs 3 GB of downloads.
The last line is a row of the table in docs/install.md. FOLDER takes up to
8 GB and can be removed afterwards.
"""
import argparse
import os
import re
import subprocess
import sys
import tomllib
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CHECKS = {
    'import': ('tests/test_mmcv_ops.py', ),
    'reference numbers': ('tests/test_golden.py', ),
    'both stages': ('tests/test_engine/test_train.py', ),
    'prediction': ('tests/test_inference/test_folder_run.py', ),
    'export': ('tests/test_checkpoints/test_onnx_export.py', ),
}
SHOWN = ('torch', 'torchvision', 'numpy', 'opencv-python-headless', 'Pillow',
         'onnx')


def dependencies() -> list[str]:
    """What pyproject.toml asks for, with all extras that are tried."""
    with open(ROOT / 'pyproject.toml', 'rb') as file:
        project = tomllib.load(file)['project']
    return project['dependencies'] + project['optional-dependencies']['export']


def constraints(which: str) -> list[str]:
    """Lines that hold pip to the wanted versions.

    Args:
        which (str): ``oldest``, ``tested`` or ``newest``.
    """
    if which == 'tested':
        text = (ROOT / 'requirements.txt').read_text(encoding='utf-8')
        return re.findall(r'^[\w-]+==[\w.]+', text, re.M)
    if which == 'newest':
        return []
    found = (re.match(r'([\w-]+)>=([\w.]+)', d) for d in dependencies())
    return [f'{m[1]}=={m[2]}.*' for m in found if m]


def make_environment(folder: Path, which: str) -> Path:
    """Install everything; returns the environment's Python."""
    venv.create(folder, with_pip=True)
    python = folder / ('Scripts' if os.name == 'nt' else 'bin') / 'python'
    limits = folder / 'constraints.txt'
    limits.write_text('\n'.join(constraints(which)), encoding='utf-8')

    def pip(*arguments):
        subprocess.run([python, '-m', 'pip', 'install', '-q', *arguments],
                       check=True,
                       env=dict(os.environ, PIP_CONSTRAINT=str(limits)))

    pip('torch', 'torchvision')
    pip(f'{ROOT}[export]', 'pytest')
    subprocess.run([python, '-m', 'mbos.install_mmcv'], check=True, cwd=folder)
    return python


def versions(python: Path) -> dict[str, str]:
    """Versions of what the table shows."""
    code = ('from importlib.metadata import version\n'
            f'for name in {SHOWN}: print(name, version(name))')
    done = subprocess.run([python, '-c', code],
                          check=True,
                          capture_output=True,
                          text=True)
    return dict(line.split() for line in done.stdout.splitlines())


def run_checks(python: Path) -> dict[str, bool]:
    """Run the tests in the environment."""
    passed = {}
    for name, files in CHECKS.items():
        done = subprocess.run(
            [python, '-m', 'pytest', '-q', '-m', 'not slow', *files],
            cwd=ROOT,
            env=dict(os.environ, OMP_NUM_THREADS='1'))
        passed[name] = done.returncode == 0
    return passed


def main() -> int:
    """Make the environment, run the tests, print the row."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('which', choices=['oldest', 'tested', 'newest'])
    parser.add_argument('folder', type=Path)
    parser.add_argument(
        '--keep', action='store_true', help='only run the tests again')
    args = parser.parse_args()
    python = args.folder.resolve() / 'bin/python'
    if not args.keep:
        python = make_environment(args.folder.resolve(), args.which)
    subprocess.run([python, '-m', 'mbos', 'info'], cwd=args.folder, check=True)
    passed = run_checks(python)
    row = [args.which, '.'.join(map(str, sys.version_info[:3]))]
    row += versions(python).values()
    row += ['passed' if ok else 'FAILED' for ok in passed.values()]
    print(f'| {" | ".join(row)} |')
    return 0 if all(passed.values()) else 1


if __name__ == '__main__':
    sys.exit(main())
