"""Makes docs/tools.md, after its introduction, from the tools' own help.

``python -m tests.tool_reference``
"""
import argparse
import re
import runpy
import sys
import textwrap
from pathlib import Path
from unittest import mock

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / 'docs/tools.md'
ORDER = ('train', 'test', 'predict', 'generate_pseudo_labels', 'compare',
         'gallery', 'publish_model', 'export_onnx',
         'convert_pssnet_checkpoint', 'convert_swin_checkpoint', 'quickstart')


class Parsed(Exception):
    """Raised instead of parsing, with the parser."""


def parser_of(script):
    """The argument parser of a script, given by its path in the checkout."""

    def stop(parser, *args, **kwargs):
        raise Parsed(parser)

    with mock.patch.object(argparse.ArgumentParser, 'parse_args', stop), \
            mock.patch.object(sys, 'argv', [Path(script).name]), \
            mock.patch.object(sys, 'path', [str(ROOT / 'tools'), *sys.path]):
        try:
            runpy.run_path(str(ROOT / script), run_name='__main__')
        except Parsed as parsed:
            return parsed.args[0]
    raise AssertionError(f'{script} parses no arguments')


def scripts(folder):
    """Names of a folder's scripts with arguments."""
    parses = re.compile(r'\.parse_args\(|import run$|run_module\(', re.M)
    paths = (ROOT / folder).glob('*.py')
    return {path.stem for path in paths if parses.search(path.read_text())}


def tools():
    """Names of the tools, the important ones first."""
    found = scripts('tools') - {'launch'}
    return [t for t in ORDER if t in found] + sorted(found - set(ORDER))


def command_of(tool):
    """The command of ``mbos`` that a tool is, or None."""
    text = (ROOT / f'tools/{tool}.py').read_text(encoding='utf-8')
    found = re.search(r"run\('([\w-]+)'\)", text)
    return found and found.group(1)


def row_of(action, parser):
    """The row of an argument: its names and value, and what it means."""
    value = action.metavar or action.dest
    if action.option_strings and not action.metavar:
        value = value.upper()
    if action.choices:
        value = '{' + ','.join(map(str, action.choices)) + '}'
    if isinstance(value, tuple):
        value = ' '.join(value)
    dots = ' ...' if action.nargs in ('+', '*') else ''
    names = ', '.join(f'`{name}`' for name in action.option_strings)
    shown = names if action.nargs == 0 else f'{names} `{value}{dots}`'
    text = (action.help or '') % dict(vars(action), prog=parser.prog)
    if 'default' not in text and action.default not in (None, False, True,
                                                        argparse.SUPPRESS, []):
        text += f' (default: {action.default})'
    text = re.sub(r'\s+', ' ', text).replace('|', '\\|')
    return f'| {shown.strip()} | {text.strip()} |'


def section(tool, folder='tools'):
    """The part of the page on one tool."""
    parser = parser_of(f'{folder}/{tool}.py')
    command = command_of(tool) if folder == 'tools' else None
    title = f'`mbos {command}`, ' if command else ''
    lines = [f'## {title}`{folder}/{tool}.py`', '']
    for paragraph in (parser.description or '').strip().split('\n\n'):
        paragraph = re.sub(r'^examples?:\n', '', paragraph)
        if re.match(rf'\s*(mbos|python {folder}/|python -m )', paragraph):
            commands = [line.strip() for line in paragraph.splitlines()]
            lines += ['```bash', *commands, '```', '']
        elif paragraph:
            text = re.sub(r'\s+', ' ', paragraph.replace('``', '`')).strip()
            lines += [textwrap.fill(text, 100, break_on_hyphens=False), '']
    lines += ['| argument | meaning |', '|---|---|']
    for action in sorted(
            parser._actions, key=lambda a: bool(a.option_strings)):
        if action.help != argparse.SUPPRESS and action.dest != 'help':
            lines.append(row_of(action, parser))
    return '\n'.join(lines) + '\n'


def page():
    """The text of docs/tools.md, with the introduction that it has."""
    head = PAGE.read_text(encoding='utf-8').partition('\n## ')[0]
    ours = [section(name) for name in tools()]
    ours += [section(n, 'benchmarks') for n in sorted(scripts('benchmarks'))]
    return '\n'.join([head, *ours])


if __name__ == '__main__':
    PAGE.write_text(page(), encoding='utf-8')
