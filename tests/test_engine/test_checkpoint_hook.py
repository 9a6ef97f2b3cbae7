"""Checkpoints are whole or not there, and the right ones are kept."""
import os
import resource
import signal

import pytest
import torch

from mbos.engine.checkpoint_hook import list_checkpoints, save_atomically
from tests.test_engine.test_runner import make_runner


@pytest.fixture(autouse=True)
def impatient(no_waiting):
    """mmcv's runner sleeps a second at its end."""


def names(folder):
    return sorted(os.listdir(folder))


def numbers(folder):
    return [number for number, _ in list_checkpoints(str(folder))]


@pytest.fixture
def small_disk():
    """No file may grow beyond 100 kB."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


def test_full_disk_leaves_the_last_one(tmp_path, small_disk):
    path = str(tmp_path / 'iter_2.pth')
    save_atomically(dict(a=torch.ones(10)), path)
    with pytest.raises(OSError, match='max_keep_ckpts.*--auto-resume') as bad:
        save_atomically(dict(a=torch.ones(100_000)), path)
    assert bad.value.filename == path
    assert names(tmp_path) == ['iter_2.pth']
    assert len(torch.load(path, weights_only=True)['a']) == 10


@pytest.mark.parametrize('iterations', [(8, ), (3, 6, 8), (5, 8)])
def test_the_last_are_kept_over_restarts(tmp_path, iterations):
    """Whatever interval and signals left between."""
    resume = None
    for last in iterations:
        make_runner(tmp_path, last, resume, max_keep_ckpts=2)
        resume = tmp_path / f'iter_{last}.pth'
    kept = numbers(tmp_path)
    assert len(kept) == 2 and kept[0] == 8
    assert os.readlink(tmp_path / 'latest.pth') == 'iter_8.pth'


def test_later_ones_of_another_run_do_not_count(tmp_path):
    save_atomically(dict(), str(tmp_path / 'iter_40.pth'))
    make_runner(tmp_path, 6, max_keep_ckpts=1)
    assert numbers(tmp_path) == [40, 6]


def test_old_ones_go_when_the_new_one_is_there(tmp_path, monkeypatch):
    seen, remove = [], os.remove

    def look(path):
        if str(path).endswith('.pth'):
            seen.append(numbers(tmp_path))
        remove(path)

    monkeypatch.setattr(os, 'remove', look)
    make_runner(tmp_path, 6, max_keep_ckpts=1)
    assert seen == [[4, 2], [6, 4]]
