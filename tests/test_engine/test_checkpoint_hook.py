"""Checkpoints are whole or not there, and the right ones are kept."""
import errno
import os
import resource
import signal
import subprocess
import sys

import pytest
import torch

from mbos.engine.checkpoint_hook import list_checkpoints, save_atomically
from mbos.io.files import remove_leftovers, replace_link
from tests.test_engine.test_runner import make_runner


@pytest.fixture(autouse=True)
def impatient(no_waiting):
    """mmcv's runner sleeps a second at its end."""


def names(folder):
    return sorted(os.listdir(folder))


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
    with pytest.raises(OSError) as caught:
        save_atomically(dict(a=torch.ones(100_000)), path)
    assert caught.value.errno == errno.EFBIG
    said = str(caught.value)
    for wanted in ('iter_2.pth', 'make room', 'max_keep_ckpts', 'untouched',
                   '--auto-resume', 'MB are free'):
        assert wanted in said
    assert names(tmp_path) == ['iter_2.pth']
    assert len(torch.load(path, weights_only=True)['a']) == 10


def test_other_errors_are_not_taken_for_a_full_disk(tmp_path):
    with pytest.raises(Exception, match='(?i)pickle'):
        save_atomically(dict(a=lambda: 1), str(tmp_path / 'a.pth'))
    assert names(tmp_path) == []


@pytest.mark.parametrize('iterations', [(8, ), (3, 6, 8), (5, 8)])
def test_the_last_are_kept_over_restarts(tmp_path, iterations):
    """Whatever interval and signals left between."""
    resume = None
    for last in iterations:
        make_runner(tmp_path, last, resume, max_keep_ckpts=2)
        resume = tmp_path / f'iter_{last}.pth'
    kept = [n for n, _ in list_checkpoints(str(tmp_path))]
    assert len(kept) == 2 and kept[0] == 8
    assert os.readlink(tmp_path / 'latest.pth') == 'iter_8.pth'


def test_later_ones_of_another_run_do_not_count(tmp_path):
    save_atomically(dict(), str(tmp_path / 'iter_40.pth'))
    make_runner(tmp_path, 6, max_keep_ckpts=1)
    assert [n for n, _ in list_checkpoints(str(tmp_path))] == [40, 6]


def test_old_ones_go_when_the_new_one_is_there(tmp_path, monkeypatch):
    seen = []
    remove = os.remove

    def look(path):
        if str(path).endswith('.pth'):
            seen.append([n for n, _ in list_checkpoints(str(tmp_path))])
        remove(path)

    monkeypatch.setattr(os, 'remove', look)
    make_runner(tmp_path, 6, max_keep_ckpts=1)
    assert seen == [[4, 2], [6, 4]]


def test_a_failed_write_removes_nothing(tmp_path, monkeypatch):
    make_runner(tmp_path, 2, max_keep_ckpts=1)

    def fail(content, file):
        file.write(b'half')
        raise OSError(errno.ENOSPC, 'No space left on device')

    with monkeypatch.context() as patch:
        patch.setattr(torch, 'save', fail)
        with pytest.raises(OSError, match='untouched'):
            make_runner(tmp_path, 4, tmp_path / 'iter_2.pth', max_keep_ckpts=1)
    assert names(tmp_path) == ['iter_2.pth', 'latest.pth']
    make_runner(tmp_path, 4, tmp_path / 'latest.pth', max_keep_ckpts=1)
    assert names(tmp_path) == ['iter_4.pth', 'latest.pth']


def test_leftovers_of_killed_processes(tmp_path):
    done = subprocess.Popen([sys.executable, '-c', ''])
    done.wait()
    for pid in (done.pid, os.getpid()):
        (tmp_path / f'iter_2.pth.{pid}.tmp').touch()
    (tmp_path / 'mine.tmp').touch()
    assert remove_leftovers(str(tmp_path)) == [f'iter_2.pth.{done.pid}.tmp']
    assert names(tmp_path) == sorted(
        ['mine.tmp', f'iter_2.pth.{os.getpid()}.tmp'])
    assert remove_leftovers(str(tmp_path / 'none')) == []


def test_link_is_replaced_in_one_move(tmp_path):
    link = str(tmp_path / 'latest.pth')
    for target in ('a', 'b'):
        (tmp_path / target).touch()
        replace_link(target, link)
        assert os.readlink(link) == target
    assert names(tmp_path) == ['a', 'b', 'latest.pth']
