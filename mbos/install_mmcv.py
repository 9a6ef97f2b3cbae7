"""Install mmcv 1.7.2, which pip alone cannot: ``python -m mbos.install_mmcv``.

It is published as source only, whose set-up script wants ``pkg_resources``
(gone from setuptools 80 and later, and from isolated builds) and, to read its
own version, ``locals()`` with what ``exec`` left there (not so since Python
3.13). Both are provided for the length of the build.
"""
import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

SITE = '''
import builtins, sys

def locals_with_version():
    found = sys._getframe(1)
    if found.f_code.co_name == 'get_version':
        return dict(found.f_locals, __version__='1.7.2')
    return found.f_locals

builtins.locals = locals_with_version
'''
"""str: ``sitecustomize`` of the processes that build mmcv."""


def main(argv: list[str] | None = None) -> int:
    """Install into the environment that runs this; returns pip's status."""
    parser = argparse.ArgumentParser('python -m mbos.install_mmcv')
    what = 'mmcv-full, compiled for the torch that is installed'
    parser.add_argument('--full', action='store_true', help=what)
    full = parser.parse_args(argv).full
    # pip's cache does not know for which torch something was compiled.
    mmcv = ['--no-cache-dir', 'mmcv-full==1.7.2'] if full else ['mmcv==1.7.2']
    steps = [['setuptools>=70.1,<80'], ['--no-build-isolation', *mmcv]]
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, 'sitecustomize.py').write_text(SITE, encoding='utf-8')
        environment = dict(
            os.environ, PYTHONPATH=folder, MMCV_WITH_OPS=str(int(full)))
        if full:  # operators for CPUs, whatever the machine has
            environment.update(FORCE_CUDA='0', CUDA_VISIBLE_DEVICES='')
        for step in steps:
            command = [sys.executable, '-m', 'pip', 'install', '-q', *step]
            status = subprocess.run(command, env=environment).returncode
            if status:
                return status
    return 0


if __name__ == '__main__':
    sys.exit(main())
