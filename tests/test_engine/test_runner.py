"""The runner and its checkpoints: whole or not there, and the right ones kept.
"""
import enum
import io
import os
import resource
import signal
from collections import defaultdict

import numpy as np
import pytest
import torch
from mmcv.runner import build_runner
from mmcv.utils import get_logger
from torch import nn

from mbos.engine.hooks import GradientStepHook
from mbos.engine.runner import (SubfolderCheckpointHook, list_checkpoints,
                                save_atomically, storable)


class Line(nn.Module):
    """Fits y = w x, with momentum, so that a step depends on those before."""

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.zeros(1))

    def train_step(self, batch, optimizer, backward):
        loss = (self.w - 1).square().sum()
        backward(loss)
        return dict(loss=loss.detach(), losses={}, num_samples=1)


def train(folder, iterations, resume=None, **checkpoint):
    model, step = Line(), GradientStepHook()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.5)
    runner = build_runner(
        dict(type='CheckedIterRunner', max_iters=iterations),
        dict(model=model, work_dir=str(folder), logger=get_logger('test'),
             optimizer=optimizer, meta=dict(note='mine')))  # yapf: disable
    poly = dict(policy='poly', power=1.0, min_lr=0.0, by_epoch=False)
    runner.register_training_hooks(poly, step)
    runner.register_hook(SubfolderCheckpointHook(interval=2, **checkpoint))
    if resume:
        runner.resume(content(resume))
    runner.run([[{}] * 100], [('train', 1)], backward=step.backward)
    return runner


def content(path):
    return torch.load(path, weights_only=True)


def numbers(folder):
    return [number for number, _ in list_checkpoints(str(folder))]


def test_checkpoints_count_finished_iterations(tmp_path):
    train(tmp_path, 5)
    assert sorted(os.listdir(tmp_path)) == [
        'iter_2.pth', 'iter_4.pth', 'iter_5.pth', 'latest.pth'
    ]
    assert os.readlink(tmp_path / 'latest.pth') == 'iter_5.pth'
    saved = content(tmp_path / 'iter_2.pth')
    assert saved['meta']['iter'] == 2 and saved['meta']['note'] == 'mine'
    assert list(saved['optimizer']) == ['generator']
    # by hand, lr 0.1, 0.08: w = 0.2; velocity -2 * 0.5 - 1.6; w = 0.408
    torch.testing.assert_close(saved['state_dict']['w'], torch.tensor([0.408]))


@pytest.mark.parametrize('iterations', [(8, ), (3, 6, 8), (5, 8)])
def test_the_last_are_kept_over_restarts(tmp_path, iterations):
    """In the subfolder; whatever interval and signals left between. Later
    ones, of another run, do not count."""
    resume, folder = None, tmp_path / 'ckpt'
    folder.mkdir()
    save_atomically(dict(), str(folder / 'iter_40.pth'))
    for last in iterations:
        train(tmp_path, last, resume, subfolder='ckpt', max_keep_ckpts=2)
        resume = folder / f'iter_{last}.pth'
    kept = numbers(folder)
    assert len(kept) == 3 and kept[:2] == [40, 8]
    assert os.listdir(tmp_path) == ['ckpt']
    assert os.readlink(folder / 'latest.pth') == 'iter_8.pth'


def test_old_ones_go_when_the_new_one_is_there(tmp_path, monkeypatch):
    seen, remove = [], os.remove

    def look(path):
        if str(path).endswith('.pth'):
            seen.append(numbers(tmp_path))
        remove(path)

    monkeypatch.setattr(os, 'remove', look)
    train(tmp_path, 6, max_keep_ckpts=1)
    assert seen == [[4, 2], [6, 4]]


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
    assert os.listdir(tmp_path) == ['iter_2.pth']
    assert len(content(path)['a']) == 10


class Phase(enum.IntEnum):
    FIRST = 1


@pytest.mark.parametrize('value, expected', [
    (np.float64(0.5), 0.5),
    (np.arange(3), [0, 1, 2]),
    (defaultdict(list, a=[np.int64(1)]), dict(a=[1])),
    ({np.int64(3): (True, None)}, {3: (True, None)}),
    (Phase.FIRST, '1'),
    (range(3), 'range(0, 3)'),
])  # yapf: disable
def test_what_checkpoints_hold_is_read_without_running_code(value, expected):
    """Whatever hooks put into them."""
    stream = io.BytesIO()
    torch.save(storable(value), stream)
    stream.seek(0)
    assert torch.load(stream, weights_only=True) == expected
