"""The documentation: its links lead somewhere, its names exist."""
import re
import runpy
from pathlib import Path

import pytest

from mbos import cli
from tests import tool_reference

ROOT = Path(__file__).resolve().parents[1]
DOCS = sorted((ROOT / 'docs').glob('*.md'))
PAGES = [ROOT / 'README.md', ROOT / 'CHANGELOG.md', *DOCS]


def anchors_of(page):
    """Anchors of a page's headings, as GitHub makes them."""
    text = re.sub(r'```.*?```', '', page.read_text(), flags=re.S)
    titles = re.findall(r'^#+ (.*)$', text, re.M)
    plain = [re.sub(r'[^\w\- ]', '', t.lower()) for t in titles]
    return {title.strip().replace(' ', '-') for title in plain}


@pytest.mark.parametrize('page', PAGES, ids=lambda p: p.name)
def test_links(page):
    text = re.sub(r'```.*?```', '', page.read_text(), flags=re.S)
    for target in re.findall(r'\]\(([^)\s]+)\)', text):
        if re.match(r'[a-z]+:', target):
            continue
        path, _, anchor = target.partition('#')
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), f'{page.name}: {target}'
        if anchor:
            assert anchor in anchors_of(file), f'{page.name}: {target}'


@pytest.mark.parametrize('repo_url, expected', [
    ('https://example.org/mbos/',
     '[a](https://example.org/mbos/blob/main/mbos/io), [b](data.md#x)'),
    ('', 'a, [b](data.md#x)'),
])
def test_links_of_the_site_that_leave_docs(repo_url, expected):
    rewrite = runpy.run_path(str(ROOT / 'tools/site_links.py'))['rewrite']
    assert rewrite('[a](../mbos/io), [b](data.md#x)', repo_url) == expected


@pytest.mark.parametrize('page', DOCS, ids=lambda p: p.name)
def test_lines_of_text_fit_a_screen(page):
    text = re.sub(r'```.*?```', '', page.read_text(), flags=re.S)
    assert not [
        line for line in text.splitlines()
        if len(line) > 130 and not re.match(r'\||- `\S+`$', line)
    ]


def test_site_has_every_page():
    text = (ROOT / 'mkdocs.yml').read_text(encoding='utf-8')
    listed = re.findall(r'^ +- [^:]+: (\w+\.md)$', text, re.M)
    assert sorted(listed) == [page.name for page in DOCS]


@pytest.mark.parametrize('page', PAGES, ids=lambda p: p.name)
def test_commands_name_files_that_exist(page):
    # configs that a reader is shown how to write stand in blocks of Python
    text = re.sub(r'```python.*?```', '', page.read_text(), flags=re.S)
    for path in re.findall(
            r'(?:tools|configs|tests|benchmarks)/[\w./-]+\.(?:py|sh)', text):
        assert (ROOT / path).exists(), f'{page.name}: {path}'
    for module in re.findall(r'-m (prepare_dataset\.\w+)', page.read_text()):
        file = ROOT / (module.replace('.', '/') + '.py')
        assert file.exists(), f'{page.name}: {module}'


def test_reference_of_the_tools_is_up_to_date():
    assert tool_reference.PAGE.read_text() == tool_reference.page(), (
        'run python -m tests.tool_reference')


def test_reference_has_every_tool():
    assert {'train', 'test', 'predict',
            'compare'} <= set(tool_reference.tools())
    commands = {*map(tool_reference.command_of, tool_reference.tools())}
    assert commands - {None} | {'prepare', 'info'} == set(cli.COMMANDS)
    text = tool_reference.section('train')
    assert '| `config` | config file |' in text
    assert '| `--seed` `SEED` | random seed (default: 0) |' in text


def test_sections_that_the_code_names_exist():
    """``docs/<page>.md, section N`` in code and configs."""
    numbers = {}
    for page in (ROOT / 'docs').glob('*.md'):
        numbers[page.name] = set(
            re.findall(r'^## (\d+)\. ', page.read_text(), re.M))
    found = 0
    for folder in ('mbos', 'prepare_dataset', 'configs', 'tests'):
        for path in (ROOT / folder).rglob('*.py'):
            text = re.sub(r'\s+(# )?', ' ', path.read_text())
            for page, sections in re.findall(
                    r'docs/(\w+\.md), sections? (\d+(?: and \d+)?)', text):
                found += 1
                missing = set(sections.split(' and ')) - numbers[page]
                assert not missing, f'{path}: {page}, section {missing}'
    assert found > 10


@pytest.mark.parametrize('folder', [
    'mbos', 'prepare_dataset', 'configs', 'quickstart', 'tools', 'tests',
    'benchmarks', 'demo'
])
def test_pages_that_files_name_exist(folder):
    for path in (ROOT / folder).rglob('*'):
        if path.suffix not in ('.py', '.sh', '.md', '.html', '.ipynb'):
            continue
        for page in re.findall(r'docs/(\w+\.md)', path.read_text()):
            assert (ROOT / 'docs' / page).exists(), f'{path}: docs/{page}'
