"""How tools end: status, words, and the note for the launcher."""
import json

import pytest

from mbos.apis import LaunchError, run_tool
from tests.processes import run_processes


@pytest.fixture
def note(tmp_path, monkeypatch):
    """File that torchrun gives its processes to write to."""
    monkeypatch.setenv('TORCHELASTIC_ERROR_FILE', str(tmp_path / 'note.json'))
    monkeypatch.delenv('MBOS_LAUNCHER_PID', raising=False)
    return tmp_path / 'note.json'


def kind_and_text(note):
    message = json.loads(note.read_text())['message']
    return message['extraInfo']['kind'], message['message']


def end(error):
    """What a tool that raises this leaves with."""

    def tool():
        raise error

    with pytest.raises(SystemExit) as leaving:
        run_tool(tool)
    return leaving.value.code


def test_end_without_a_fault(note):
    run_tool(lambda: None)
    assert end(SystemExit(0)) == 0  # such as --help
    assert end(SystemExit(75)) == 75
    assert not note.exists()


@pytest.mark.parametrize('error, text', [
    (ValueError('wrong value'), 'wrong value'),
    (LaunchError('wrong launcher'), 'wrong launcher'),
    (FloatingPointError('nan'), 'nan'),
    (FileExistsError(17, 'File exists', 'out'), 'out: File exists.'),
])
def test_explained_errors(note, monkeypatch, error, text):
    text = f'Error: {text}'
    assert end(error) == text
    assert kind_and_text(note) == ('explained', text)
    monkeypatch.setenv('MBOS_LAUNCHER_PID', '1')
    assert end(error) == 1, 'the launcher prints it'


def test_faults_of_the_code(note):
    with pytest.raises(KeyError):
        run_tool(lambda: {}['a'])
    assert kind_and_text(note) == ('traceback', "KeyError: 'a'")
    assert 'test_exits.py' in note.read_text()


def leave_early(rank):
    """Exit code of a process that leaves while others work."""
    return end(SystemExit(0)) if rank else None


def test_a_process_must_not_leave_early(tmp_path, monkeypatch):
    monkeypatch.delenv('TORCHELASTIC_ERROR_FILE', raising=False)
    code = run_processes(leave_early, 2, tmp_path)[1]
    assert 'left by sys.exit before the run was over' in code
