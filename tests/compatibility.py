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
CHECKS = ('test_mmcv_ops.py', 'test_golden.py', 'test_engine/test_train.py',
          'test_inference/test_folder_run.py',
          'test_checkpoints/test_onnx_export.py')
SHOWN = ('torch', 'torchvision', 'numpy', 'opencv-python-headless', 'Pillow',
         'onnx')
VERSIONS = ('from importlib.metadata import version\n'
            f'print(*map(version, {SHOWN}), sep=" | ")')


def constraints(which: str) -> str:
    """Lines that hold pip to the oldest, tested or newest versions."""
    if which == 'tested':
        text = (ROOT / 'requirements.txt').read_text(encoding='utf-8')
        return '\n'.join(re.findall(r'^[\w-]+==[\w.]+', text, re.M))
    if which == 'newest':
        return ''
    project = tomllib.loads((ROOT / 'pyproject.toml').read_text())['project']
    wanted = [*project['dependencies'],
              *project['optional-dependencies']['export']]  # yapf: disable
    found = re.findall(r'^([\w-]+)>=([\w.]+)', '\n'.join(wanted), re.M)
    return '\n'.join(f'{name}=={least}.*' for name, least in found)


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
    folder = args.folder.resolve()
    python = folder / ('Scripts' if os.name == 'nt' else 'bin') / 'python'

    def run(*arguments, **options):
        return subprocess.run([python, '-m', *map(str, arguments)], **options)

    if not args.keep:
        venv.create(folder, with_pip=True)
        limits = folder / 'constraints.txt'
        limits.write_text(constraints(args.which), encoding='utf-8')
        environment = dict(os.environ, PIP_CONSTRAINT=str(limits))
        for packages in (['torch',
                          'torchvision'], [f'{ROOT}[export]', 'pytest']):
            run('pip', 'install', '-q', *packages, check=True, env=environment)
        run('mbos.install_mmcv', check=True, cwd=folder)
    run('mbos', 'info', check=True, cwd=folder)
    environment = dict(os.environ, OMP_NUM_THREADS='1')
    passed = [
        run('pytest',
            '-q',
            '-m',
            'not slow',
            ROOT / 'tests' / name,
            cwd=ROOT,
            env=environment).returncode == 0 for name in CHECKS
    ]
    shown = subprocess.check_output([python, '-c', VERSIONS], text=True)
    row = [args.which, '.'.join(map(str, sys.version_info[:3])), shown.strip()]
    row += ['passed' if ok else 'FAILED' for ok in passed]
    print(f'| {" | ".join(row)} |')
    return 0 if all(passed) else 1


if __name__ == '__main__':
    sys.exit(main())
