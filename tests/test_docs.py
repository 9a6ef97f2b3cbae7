"""The documentation: links, names, and configs that are complete and right."""
import re
import runpy
import shutil
from pathlib import Path

import numpy as np
import pytest
from mmcv.utils import get_logger
from mmseg.datasets import build_dataset
from mmseg.models import build_segmentor
from PIL import Image

from mbos import cli
from mbos.apis import load_config
from mbos.datasets.checks import check_pixels
from mbos.engine.rehearsal import check_validation, warn_of_useless_labels
from mbos.io.labels import save_labels
from tests import tool_reference

ROOT = Path(__file__).resolve().parents[1]
DOCS = sorted((ROOT / 'docs').glob('*.md'))
FOLDERS_OF_CODE = ('mbos', 'prepare_dataset', 'configs', 'quickstart', 'tools',
                   'tests', 'benchmarks', 'demo')
PAGES = pytest.mark.parametrize(
    'page', [ROOT / 'README.md', ROOT / 'CHANGELOG.md', *DOCS],
    ids=lambda page: page.name)


def prose_of(page, blocks=''):
    """A page's text without its blocks of code."""
    return re.sub(f'```{blocks}.*?```', '', page.read_text(), flags=re.S)


def anchors_of(page):
    """Anchors of a page's headings, as GitHub makes them."""
    titles = re.findall(r'^#+ (.*)$', prose_of(page), re.M)
    plain = [re.sub(r'[^\w\- ]', '', title.lower()) for title in titles]
    return {title.strip().replace(' ', '-') for title in plain}


@PAGES
def test_links_and_files(page):
    for target in re.findall(r'\]\(([^)\s]+)\)', prose_of(page)):
        if re.match(r'[a-z]+:', target):
            continue
        path, _, anchor = target.partition('#')
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), target
        assert not anchor or anchor in anchors_of(file), target
    # configs that a reader is shown how to write stand in blocks of Python
    for named in re.findall(
            r'(?:tools|configs|tests|benchmarks)/[\w./-]+\.(?:py|sh)',
            prose_of(page, 'python')):
        assert (ROOT / named).exists(), named
    for module in re.findall(r'-m (prepare_dataset\.\w+)', page.read_text()):
        assert (ROOT / f'{module.replace(".", "/")}.py').exists(), module


@pytest.mark.parametrize('repo_url, expected', [
    ('https://a.org/', '[a](https://a.org/blob/main/mbos/io), [b](data.md#x)'),
    ('', 'a, [b](data.md#x)'),
])
def test_links_of_the_site_that_leave_docs(repo_url, expected):
    rewrite = runpy.run_path(str(ROOT / 'tools/site_links.py'))['rewrite']
    assert rewrite('[a](../mbos/io), [b](data.md#x)', repo_url) == expected


def test_site_has_every_page():
    text = (ROOT / 'mkdocs.yml').read_text(encoding='utf-8')
    listed = re.findall(r'^ +- [^:]+: (\w+\.md)$', text, re.M)
    assert sorted(listed) == [page.name for page in DOCS]


def test_reference_of_the_tools():
    assert tool_reference.PAGE.read_text() == tool_reference.page(), (
        'run python -m tests.tool_reference')
    commands = {*map(tool_reference.command_of, tool_reference.tools())}
    assert commands - {None} | {'prepare', 'info'} == set(cli.COMMANDS)


def test_pages_and_sections_that_files_name_exist():
    """``docs/<page>.md, section N`` in code and configs."""
    numbers = {
        page.name: set(re.findall(r'^## (\d+)\. ', page.read_text(), re.M))
        for page in DOCS
    }
    pattern = r'docs/(\w+\.md)(?:, sections? (\d+)(?: and (\d+))?)?'
    found = []
    for path in (p for f in FOLDERS_OF_CODE for p in (ROOT / f).rglob('*')):
        if path.suffix in ('.py', '.sh', '.md', '.html', '.ipynb'):
            text = re.sub(r'\s+(# )?', ' ', path.read_text())
            for page, *sections in re.findall(pattern, text):
                assert page in numbers, f'{path}: docs/{page}'
                found += filter(None, sections)
                missing = set(filter(None, sections)) - numbers[page]
                assert not missing, f'{path}: {page}, section {missing}'
    assert len(found) > 10


# ---- configs that docs/how_to.md writes out

BLOCK = re.compile(r'```python\n# (configs/\S+)\n(.*?)```', re.DOTALL)
CONFIGS = dict(BLOCK.findall((ROOT / 'docs/how_to.md').read_text()))
FOLDERS = {
    'data/FOVCrop-padding/RETA/train': ('jpg', 'ann', 'fovea_pseudo'),
    'data/mine/train': ('png', 'fovea', 'vessel_pseudo'),
    'data/mine/val': ('png', 'fovea'),
    'data/mine/test': ('png', 'fovea'),
}


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A working directory with the configs and one image in each folder."""
    shutil.copytree(ROOT / 'configs', tmp_path / 'configs')
    for folder, (suffix, *labels) in FOLDERS.items():
        path = tmp_path / folder
        (path / 'images').mkdir(parents=True)
        picture = np.full((64, 64, 3), 90, np.uint8)
        Image.fromarray(picture).save(path / f'images/eye.{suffix}')
        for name in labels:
            plane = np.zeros((64, 64), np.uint8)
            plane[8:16] = 1
            save_labels(path / name / 'eye.png', plane)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize('kind', ['_multi_task_', '_multi_gan_', 'light'])
def test_config(kind, here, caplog):
    """Everything up to the first iteration."""
    path = f'configs/{kind}/fovea.py'
    (here / path).write_text(CONFIGS[path])
    cfg = load_config(path)
    logger = get_logger('test_docs')
    logger.propagate = True
    warn_of_useless_labels(cfg, logger)
    train_set = build_dataset(cfg.data.train)
    val_set, test_set = (
        build_dataset(part, dict(test_mode=True))
        for part in (cfg.data.val, cfg.data.test))
    check_validation(cfg, val_set, logger)
    assert not [r for r in caplog.records if r.name == 'test_docs']
    check_pixels([train_set, val_set, test_set])
    labelled = {(meta['dataset'], task, plane['kind'])
                for meta in (sample['img_metas'].data
                             for sample in train_set[0])
                for task, plane in meta['planes'].items()
                if plane['kind'] != 'absent'}
    expected, tasks = {('mine', 'fovea', 'truth')}, ['fovea']
    if kind != 'light':
        expected |= {('reta', 'vessel', 'truth')}
        tasks.insert(0, 'vessel')
    if kind == '_multi_gan_':
        expected |= {('reta', 'fovea', 'pseudo'), ('mine', 'vessel', 'pseudo')}
    assert labelled == expected
    cfg.model.pretrained = None
    assert list(build_segmentor(cfg.model).tasks) == tasks
