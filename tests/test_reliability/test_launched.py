"""Signals through the launchers: all processes end, with one status."""
import os
import signal
import time
from pathlib import Path

import pytest

from mbos.checkpoints.loading import read_checkpoint
from mbos.engine.runner import list_checkpoints
from mbos.runtime.signals import EXIT_INTERRUPTED
from tests.test_reliability.runs import start, wait_for, write_long_config
from tests.tiny_runs import ROOT

slow = pytest.mark.slow


def parent_of(pid):
    """None if the process has ended."""
    try:
        text = Path(f'/proc/{pid}/stat').read_text()
    except OSError:
        return None
    state, parent = text.rpartition(')')[2].split()[:2]
    return None if state == 'Z' else int(parent)


def children_of(pid):
    """Processes that a process has started, and those that they have."""
    own = [int(entry) for entry in filter(str.isdigit, os.listdir('/proc'))
           if parent_of(entry) == pid]  # yapf: disable
    return [*own, *(one for child in own for one in children_of(child))]


def wait_until_gone(pids, seconds):
    end = time.time() + seconds
    while any(map(parent_of, pids)):
        assert time.time() < end, f'still there: {pids}'
        time.sleep(0.1)


@pytest.fixture
def launch(long_runs, tmp_path):
    """Start two processes that train for long, with workers, and wait."""
    config = write_long_config(
        tmp_path / 'a.py', long_runs[1].data, iterations=100000,
        log_config__interval=1, checkpoint_config__interval=100000,
        evaluation__interval=100000,
        data__workers_per_gpu=1)  # yapf: disable
    started = []

    def begin(*arguments, processes=2):
        (tmp_path / 'output.txt').write_bytes(b'')
        process = start(
            ROOT / 'tools/dist_train_multi_task.sh', config, processes,
            '--work-dir', 'w', *arguments, folder=tmp_path)  # yapf: disable
        started.append(process)
        wait_for(r'Iter \[\d+/100000\]', tmp_path, process)
        return process, children_of(process.pid)

    yield begin
    for process in started:
        for pid in [*children_of(process.pid), process.pid]:
            if parent_of(pid):
                os.kill(pid, signal.SIGKILL)
        process.wait()


def newest(folder):
    """Iteration of the newest checkpoint, which must be whole."""
    iteration, path = list_checkpoints(str(folder))[0]
    assert read_checkpoint(path)['meta']['iter'] == iteration
    return iteration


def test_sigterm_ends_all_processes_with_status_75(launch, tmp_path):
    process, everyone = launch()
    assert len(everyone) >= 4, 'two processes with a worker each'
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == EXIT_INTERRUPTED == 75
    wait_until_gone(everyone, 10)
    log = (tmp_path / 'output.txt').read_text()
    assert 'Interrupted (SIGTERM)' in log and 'Traceback' not in log, log
    assert newest(tmp_path / 'w') >= 1


@slow
def test_slurms_warning_and_going_on(launch, tmp_path):
    process, _ = launch()
    process.send_signal(signal.SIGUSR1)
    assert process.wait(60) == 75
    before = newest(tmp_path / 'w')
    process, everyone = launch('--auto-resume')
    os.kill(everyone[0], signal.SIGTERM)  # one of them only
    assert process.wait(60) == 75
    assert newest(tmp_path / 'w') > before
    process, _ = launch('--auto-resume', processes=1)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 75
    assert 'processes was 2, is 1' in (tmp_path / 'output.txt').read_text()


@slow
def test_a_killed_launcher_leaves_no_process(launch, tmp_path):
    process, everyone = launch()
    process.kill()
    wait_until_gone(everyone, 60)
    assert newest(tmp_path / 'w') >= 1, 'they saved, as with SIGTERM'


@slow
def test_second_ctrl_c_kills(launch):
    process, everyone = launch()
    for pid in everyone:
        os.kill(pid, signal.SIGSTOP)  # they hang
    process.send_signal(signal.SIGINT)
    time.sleep(1)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    wait_until_gone(everyone, 10)
