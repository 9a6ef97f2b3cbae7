import enum
import io
import os
from collections import defaultdict
from itertools import repeat

import numpy as np
import pytest
import torch
from mmcv.runner import build_runner
from mmcv.utils import get_logger
from torch import nn

from mbos.engine.hooks import GradientStepHook
from mbos.engine.runner import storable


class Line(nn.Module):
    """Fits y = w x, with momentum, so that a step depends on those before."""

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.zeros(1))

    def train_step(self, batch, optimizer, backward):
        loss = (self.w - batch['y']).square().sum()
        backward(loss)
        return dict(loss=loss.detach(), losses={}, num_samples=1)


class Ones:
    """An endless loader."""

    def __iter__(self):
        return repeat(dict(y=torch.ones(1)))

    def __len__(self):
        return 1 << 30


def make_runner(folder, iterations, resume=None, several=False, **checkpoint):
    model = Line()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.5)
    runner = build_runner(
        dict(type='CheckedIterRunner', max_iters=iterations),
        dict(
            model=model,
            optimizer=dict(generator=optimizer) if several else optimizer,
            work_dir=str(folder),
            logger=get_logger('test'),
            meta=dict(note='mine')))
    step = GradientStepHook()
    runner.register_training_hooks(
        dict(policy='poly', power=1.0, min_lr=0.0, by_epoch=False), step,
        dict(
            type='SubfolderCheckpointHook',
            **dict(dict(interval=2), **checkpoint)))
    if resume:
        runner.resume(str(resume))
    runner.run([Ones()], [('train', 1)], backward=step.backward)
    return runner


@pytest.fixture(autouse=True)
def impatient(no_waiting):
    """mmcv's runner sleeps a second at its end."""


def content(path):
    return torch.load(path, weights_only=True)


def test_checkpoints_count_finished_iterations(tmp_path):
    make_runner(tmp_path, 5)
    assert sorted(os.listdir(tmp_path)) == [
        'iter_2.pth', 'iter_4.pth', 'iter_5.pth', 'latest.pth'
    ]
    assert os.readlink(tmp_path / 'latest.pth') == 'iter_5.pth'
    saved = content(tmp_path / 'iter_2.pth')
    assert saved['meta']['iter'] == 2 and saved['meta']['note'] == 'mine'
    assert list(saved['optimizer']) == ['generator']
    # by hand, lr 0.1, 0.08: w = 0.2; velocity -2 * 0.5 - 1.6; w = 0.408
    torch.testing.assert_close(saved['state_dict']['w'], torch.tensor([0.408]))


@pytest.mark.parametrize('several', [False, True])
def test_resumed_run_is_the_uninterrupted_one(tmp_path, several):
    whole = make_runner(tmp_path / 'a', 6, several=several)
    for name in ('iter_2.pth', 'iter_4.pth'):
        resumed = make_runner(
            tmp_path / 'b', 6, tmp_path / 'a' / name, several=several)
        assert resumed.iter == whole.iter == 6
        assert torch.equal(resumed.model.w, whole.model.w)
    first, second = (content(tmp_path / run / 'latest.pth') for run in 'ab')
    assert first['meta']['iter'] == second['meta']['iter'] == 6
    momentum = [
        c['optimizer']['generator']['state'][0]['momentum_buffer']
        for c in (first, second)
    ]
    assert torch.equal(*momentum)


def test_subfolder(tmp_path):
    make_runner(tmp_path, 4, subfolder='ckpt', max_keep_ckpts=1)
    assert os.listdir(tmp_path) == ['ckpt']
    assert sorted(os.listdir(tmp_path /
                             'ckpt')) == ['iter_4.pth', 'latest.pth']


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
    plain = storable(value)
    assert plain == expected
    stream = io.BytesIO()
    torch.save(plain, stream)
    stream.seek(0)
    assert torch.load(stream, weights_only=True) == expected
