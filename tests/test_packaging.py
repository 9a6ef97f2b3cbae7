"""The wheel: what is in it, and that it works away from a checkout."""
import configparser
import re
import shutil
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

import mbos
from mbos.commands import info
from tests.processes import run_python
from tests.test_golden import STAGE1_CONFIG, STAGE2_CONFIG

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / 'pyproject.toml').read_text())['project']
EXTRAS = PROJECT['optional-dependencies']
PINNED = (ROOT / 'requirements.txt').read_text()
PINS = dict(re.findall(r'^([\w-]+)==([\w.]+)', PINNED, re.M))
OF_MMCV = {'addict', 'packaging', 'PyYAML'}
"""set[str]: What mmcv brings along."""


def test_requirements():
    """Tested versions lie in the ranges, and `mbos info` asks for all."""
    lines = PROJECT['dependencies'] + EXTRAS['dev'][1:]
    for extra in ('dicom', 'export', 'notebook'):
        lines += EXTRAS[extra]
    for wanted in map(Requirement, lines):
        if wanted.name not in OF_MMCV:
            assert Version(PINS[wanted.name]) in wanted.specifier
    names = {Requirement(line).name for line in PROJECT['dependencies']}
    assert names ^ set(info.REQUIRED) == OF_MMCV | {'mmcv'}
    for extra, distributions in info.EXTRAS.items():
        named = [Requirement(line).name for line in EXTRAS[extra]]
        assert named == list(distributions)


def test_missing_parts_are_said_with_the_remedy(monkeypatch, capsys):
    versions = dict(PINS, mmcv='2.1.0', timm=None, onnx=None)
    versions['opencv-python'] = versions.pop('opencv-python-headless')

    def version(name):
        if versions.get(name) is None:
            raise info.metadata.PackageNotFoundError
        return versions[name]

    monkeypatch.setattr(info.metadata, 'version', version)
    assert info.main([]) == 1
    out, err = capsys.readouterr()
    assert 'missing onnx: pip install "mbos[export]"' in out
    wrong, missing = err.splitlines()
    assert 'mmcv 2.1.0 does not serve' in wrong
    assert wrong.endswith('python -m mbos.install_mmcv')
    assert missing.endswith('pip install timm')


def python(*arguments, **settings):
    """Run Python in a process of its own; returns the lines it prints."""
    done = run_python(*arguments, **settings)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.fixture(scope='module')
def wheel(tmp_path_factory):
    """The unpacked wheel; built from a copy, so that no folders stay here."""
    pytest.importorskip('setuptools', '77')
    source, out = (tmp_path_factory.mktemp(n) for n in ('source', 'out'))
    ignored = shutil.ignore_patterns('__pycache__', 'data')
    for name in ('mbos', 'prepare_dataset', 'configs', 'tests', 'tools'):
        shutil.copytree(ROOT / name, source / name, ignore=ignored)
    for name in ('pyproject.toml', 'setup.py', 'README.md', 'LICENSE'):
        shutil.copy(ROOT / name, source)
    python('-m', 'pip', 'wheel', '-q', '--no-deps', '--no-build-isolation',
           '--no-index', '-w', out, source)
    file, = out.glob('mbos-*.whl')
    with zipfile.ZipFile(file) as archive:
        archive.extractall(out / 'site')
    return out / 'site'


def test_wheel_holds_the_library_and_no_generic_name(wheel):
    info_folder, = wheel.glob('mbos-*.dist-info')
    assert {path.name
            for path in wheel.iterdir()
            } == {'mbos', 'prepare_dataset', info_folder.name}
    for folder, target in (('mbos', 'mbos'), ('configs', 'mbos/configs'),
                           ('prepare_dataset', 'prepare_dataset')):
        for path in (ROOT / folder).rglob('*'):
            if path.is_file() and '__pycache__' not in path.parts:
                copy = wheel / target / path.relative_to(ROOT / folder)
                assert copy.exists(), f'{copy} is not in the wheel'
    commands = configparser.ConfigParser()
    commands.read(info_folder / 'entry_points.txt')
    assert commands['console_scripts']['mbos'] == 'mbos.cli:main'


def test_wheel_works_away_from_a_checkout(wheel, tmp_path):
    code = f'''
from mbos.config import load_config
print(load_config({STAGE1_CONFIG!r}).model.type)
print(load_config({Path(STAGE2_CONFIG).stem!r}).filename)
'''
    path = dict(PYTHONPATH=str(wheel), PATH='')
    kind, file = python('-P', '-c', code, cwd=tmp_path, env=path)
    assert kind == 'MultiTaskSegmentor'
    assert file == str(wheel / 'mbos' / STAGE2_CONFIG)


def test_one_version_everywhere():
    citation = (ROOT / 'CITATION.cff').read_text(encoding='utf-8')
    changes = (ROOT / 'CHANGELOG.md').read_text(encoding='utf-8')
    version, date = re.search(r'^## ([\d.]+) \(([\d-]+)\)', changes,
                              re.M).groups()
    assert mbos.__version__ == version
    assert f'\nversion: {version}\ndate-released: {date}\n' in citation
