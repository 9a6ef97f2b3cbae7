"""The command ``mbos``, and the tools that are the same commands."""
import functools
import gc

import pytest

from mbos import cli
from mbos.commands.prepare import collections
from tests.processes import run_python

mbos = functools.partial(run_python, '-m', 'mbos')


def test_help_lists_all_commands():
    done = mbos('--help')
    assert done.returncode == 0
    lines = done.stdout.splitlines()[4:-2]
    assert [line.split()[0] for line in lines] == list(cli.COMMANDS)


@pytest.mark.parametrize('arguments, words', [
    ((), 'usage: mbos COMMAND'),
    (('predikt', ), "no command 'predikt'. Did you mean predict?"),
    (('prepare', ), 'idrid'),
    (('publish', 'a', 'b', '--nots', 'x'), 'did you mean --notes?'),
    (('prepare', 'drve'), "invalid choice: 'drve'"),
])
def test_wrong_usage(arguments, words):
    done = mbos(*arguments)
    assert done.returncode == 2
    assert words in done.stderr and not done.stdout


def test_prepare_is_the_collections_own_command(tmp_path):
    done = mbos('prepare', 'stare', str(tmp_path / 'raw'), str(tmp_path))
    assert done.returncode == 1
    assert done.stderr.startswith('Error: ') and 'raw' in done.stderr
    assert {'idrid', 'check', 'synthetic'} <= set(collections())


@pytest.mark.parametrize(
    'module, raised, words',
    [
        ('mmcv', SystemExit, 'mbos info'),
        ('mbos.nothing', ModuleNotFoundError, ''),  # a fault of the code
    ])
def test_what_is_not_installed(monkeypatch, module, raised, words):

    def missing(name):
        raise ModuleNotFoundError(f'no {module}', name=module)

    monkeypatch.setattr(cli.importlib, 'import_module', missing)
    with pytest.raises(raised) as leaving:
        cli.run('predict')
    assert str(leaving.value).startswith(f'no {module}')
    assert words in str(leaving.value)
    assert gc.isenabled()
    gc.unfreeze()
