"""The documentation: its links lead somewhere, its names exist."""
import argparse
import re
import runpy
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([ROOT / 'README.md', ROOT / 'CHANGELOG.md'] +
               list((ROOT / 'docs').glob('*.md')))
TOOLS = ('train', 'test', 'predict', 'compare', 'generate_pseudo_labels',
         'publish_model', 'export_onnx', 'convert_pssnet_checkpoint',
         'convert_swin_checkpoint', 'write_disc_sides', 'benchmark',
         'benchmark_data', 'benchmark_evaluation', 'quickstart', 'gallery')


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


@pytest.mark.parametrize('page', PAGES, ids=lambda p: p.name)
def test_commands_name_files_that_exist(page):
    for path in re.findall(r'(?:tools|configs|tests)/[\w./-]+\.(?:py|sh)',
                           page.read_text()):
        assert (ROOT / path).exists(), f'{page.name}: {path}'
    for module in re.findall(r'-m (prepare_dataset\.\w+)', page.read_text()):
        file = ROOT / (module.replace('.', '/') + '.py')
        assert file.exists(), f'{page.name}: {module}'


class _Parsed(Exception):
    """Raised instead of parsing, with the parser."""


def parser_of(tool, monkeypatch):
    """The argument parser of a tool."""

    def stop(self, *args, **kwargs):
        raise _Parsed(self)

    monkeypatch.setattr(argparse.ArgumentParser, 'parse_args', stop)
    monkeypatch.setattr(sys, 'argv', [f'{tool}.py'])
    with pytest.raises(_Parsed) as caught:
        runpy.run_path(str(ROOT / f'tools/{tool}.py'), run_name='__main__')
    return caught.value.args[0]


def test_every_tool_is_in_the_reference():
    text = (ROOT / 'docs/tools.md').read_text()
    for file in (ROOT / 'tools').glob('*.py'):
        if 'ArgumentParser' in file.read_text():
            assert f'`tools/{file.name}`' in text, file.name


@pytest.mark.parametrize('tool', TOOLS)
def test_options_are_in_the_reference(tool, monkeypatch):
    text = (ROOT / 'docs/tools.md').read_text()
    heading = f'## `tools/{tool}.py`'
    assert heading in text
    section = text.split(heading)[1].split('\n## ')[0]
    parser = parser_of(tool, monkeypatch)
    options = {
        option
        for action in parser._actions for option in action.option_strings
        if option.startswith('--') and option != '--help'
    }
    told = set(re.findall(r'--[\w-]+', section))
    assert not options - told, 'missing in docs/tools.md'
    assert not told - options, 'told, but not there'
