"""The command ``mbos``, and the tools that are the same commands."""
import gc
import subprocess
import sys

import pytest

from mbos import cli
from mbos.commands.prepare import collections


def mbos(*arguments):
    """Run the command in a process of its own."""
    return subprocess.run([sys.executable, '-m', 'mbos', *arguments],
                          capture_output=True,
                          text=True)


def test_help_lists_all_commands_at_once():
    done = mbos('--help')
    assert done.returncode == 0
    assert [line.split()[0]
            for line in done.stdout.splitlines()[4:-2]] == list(cli.COMMANDS)
    loaded = subprocess.run([
        sys.executable, '-c',
        'import sys, mbos.cli; mbos.cli.usage(); print(*sys.modules)'
    ],
                            capture_output=True,
                            text=True).stdout.split()
    assert 'mbos.cli' in loaded
    assert not {'torch', 'mmcv', 'numpy', 'argparse'} & set(loaded)


@pytest.mark.parametrize('arguments, words', [
    ((), 'usage: mbos COMMAND'),
    (('predikt', ), "no command 'predikt'. Did you mean predict?"),
    (('prepare', ), 'idrid'),
    (('prepare', 'drve'), "no collection 'drve'. Did you mean drive?"),
])
def test_wrong_usage(arguments, words):
    done = mbos(*arguments)
    assert done.returncode == 2
    assert words in done.stderr and not done.stdout


def test_prepare_is_the_collections_own_command(tmp_path):
    done = mbos('prepare', 'stare', str(tmp_path / 'raw'), str(tmp_path))
    assert done.returncode == 1
    assert done.stderr.startswith('ERROR ') and 'raw' in done.stderr
    assert {'idrid', 'check', 'synthetic'} <= set(collections())


@pytest.mark.parametrize('module, words', [
    ('mmcv', 'python -m mbos.install_mmcv'),
    ('tqdm', "No module named 'tqdm'"),
])
def test_what_is_not_installed_is_said_in_a_sentence(monkeypatch, module,
                                                     words):

    def missing(name):
        raise ModuleNotFoundError(words, name=module)

    monkeypatch.setattr(cli.importlib, 'import_module', missing)
    with pytest.raises(SystemExit) as leaving:
        cli.run('predict')
    assert leaving.value.code.startswith(words)
    assert 'mbos info' in leaving.value.code


def test_a_fault_of_the_code_keeps_its_traceback(monkeypatch):

    def missing(name):
        raise ModuleNotFoundError('No module', name='mbos.nothing')

    monkeypatch.setattr(cli.importlib, 'import_module', missing)
    with pytest.raises(ModuleNotFoundError):
        cli.run('predict')


def test_imports_end_as_they_began():
    assert gc.isenabled()
    with pytest.raises(ImportError), cli.quick_imports():
        assert not gc.isenabled()
        raise ImportError
    assert gc.isenabled()
    gc.unfreeze()
