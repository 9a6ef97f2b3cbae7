"""Packaging of MBOS; ``tools/setup_env.sh`` sets up a whole environment."""
import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).resolve().parent


def read_version() -> str:
    """Read the version from the package without importing it."""
    text = (ROOT / 'mbos' / '__init__.py').read_text(encoding='utf-8')
    match = re.search(r"^__version__ = ['\"]([^'\"]+)['\"]", text, re.M)
    if match is None:
        raise RuntimeError('mbos/__init__.py has no line __version__ = ...')
    return match.group(1)


def read_requirements() -> list:
    """Read requirements.txt without its section on tests and code style."""
    text = (ROOT / 'requirements.txt').read_text(encoding='utf-8')
    lines = text.split('# Tests and code style.')[0].splitlines()
    wanted = [line.split('#')[0].strip() for line in lines]
    return [line for line in wanted if line]


def read_readme() -> str:
    """Read the README, which a bare source tree may lack."""
    path = ROOT / 'README.md'
    return path.read_text(encoding='utf-8') if path.exists() else ''


setup(
    name='mbos',
    version=read_version(),
    description='Multi-task segmentation of fundus photographs from '
    'partially labelled datasets, as a plugin of mmsegmentation',
    long_description=read_readme(),
    long_description_content_type='text/markdown',
    license='Apache License 2.0',
    packages=find_packages(include=[
        'mbos', 'mbos.*', 'prepare_dataset', 'prepare_dataset.*', 'untrusted'
    ]),
    package_data={'mbos.pictures': ['templates/*']},
    python_requires='>=3.11,<3.13',
    install_requires=read_requirements(),
    classifiers=[
        'License :: OSI Approved :: Apache Software License',
        'Operating System :: POSIX :: Linux',
        'Programming Language :: Python :: 3.11',
        'Programming Language :: Python :: 3.12',
        'Topic :: Scientific/Engineering :: Image Recognition',
    ])
