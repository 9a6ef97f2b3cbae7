"""Hooks of the user's: what they add to the network and note in checkpoints.

Checkpoints hold what weights-only loading reads, and the network alone.
"""
import enum
import io
import sys
from collections import OrderedDict, defaultdict
from pathlib import Path

import numpy as np
import pytest
import torch

from mbos.apis import load_model, read_checkpoint
from mbos.engine.storable import storable
from tests.tiny_runs import config_of, write_config, write_data

TWO = ('vessel', 'lesion')
HOOKS = '''
import datetime
import numpy as np
import torch
from mmcv.runner import HOOKS, Hook


@HOOKS.register_module(force=True)
class CountingHook(Hook):
    """Adds a buffer to the network."""

    def before_run(self, runner):
        runner.model.module.register_buffer('seen_images', torch.zeros(1))

    def after_train_iter(self, runner):
        runner.model.module.seen_images += 1


@HOOKS.register_module(force=True)
class RenamingHook(Hook):

    def before_run(self, runner):
        model = runner.model.module
        model.backbone = torch.nn.Sequential(model.backbone)


@HOOKS.register_module(force=True)
class NotingHook(Hook):
    """Notes what no checkpoint can hold, as hooks in the field do."""

    def __init__(self, number=0):
        self.number = number

    def after_train_iter(self, runner):
        runner.meta['began'] = datetime.datetime.now()
        runner.meta['rate'] = np.float64(0.5)
        messages = runner.meta.setdefault('hook_msgs', {})
        messages['history'] = [np.float32(1), lambda: 1]

    def resume_state(self, runner):
        return dict(number=np.int64(self.number), runner=type(runner))

    def load_resume_state(self, state, runner):
        runner.logger.info(f'loaded {state} into {self.number}')
'''


class Phase(enum.IntEnum):
    FIRST = 1


def reread(value):
    stream = io.BytesIO()
    torch.save(value, stream)
    stream.seek(0)
    return torch.load(stream, weights_only=True)


@pytest.mark.parametrize('value, expected', [
    (np.float64(0.5), 0.5),
    (np.str_('a'), 'a'),
    (np.arange(3), [0, 1, 2]),
    (Path('a/b'), 'a/b'),
    (Phase.FIRST, 1),
    (defaultdict(list, a=[np.int64(1)]), dict(a=[1])),
    (OrderedDict(b=(np.bool_(True), None)), dict(b=(True, None))),
    (frozenset({1}), {1}),
    ({
        np.int64(3): 'x'
    }, {
        3: 'x'
    }),
])
def test_plain_equals(value, expected):
    left_out = {}
    plain = storable(value, 'meta', left_out)
    assert plain == expected and not left_out
    assert reread(plain) == expected


@pytest.mark.parametrize('value', [range(3), slice(1), object(), print, ...])
def test_the_rest_is_left_out_and_named(value):
    left_out = {}
    assert storable(dict(a=[1, value]), 'meta', left_out) == dict(a=[1, None])
    assert left_out == {'meta.a.1': type(value).__name__}


@pytest.fixture
def train(tmp_path, tool, monkeypatch):
    """Function that trains with some of these hooks."""
    write_data(tmp_path / 'data', TWO)
    (tmp_path / 'hooks_of_mine.py').write_text(HOOKS)
    monkeypatch.setattr(sys, 'path', [str(tmp_path), *sys.path])

    def run(work_dir, *hooks, resume_from=None):
        config = write_config(
            tmp_path / f'{work_dir}.py',
            config_of(
                tmp_path / 'data',
                TWO,
                custom_imports=dict(imports=['hooks_of_mine']),
                custom_hooks=list(hooks)))
        resume = ('--resume-from', resume_from) if resume_from else ()
        return tool('train.py', config, '--work-dir', work_dir,
                    '--no-validate', *resume)

    return run


COUNTING, AVERAGING = dict(type='CountingHook'), dict(type='EMAWeightsHook')


def test_what_hooks_add_is_kept_apart(train, caplog):
    assert train('w', COUNTING, AVERAGING) is None
    assert "added to the network's state: seen_images" in caplog.text
    content = read_checkpoint('w/iter_4.pth')
    assert content['added_state']['seen_images'].item() == 4
    assert 'seen_images' not in content['state_dict']
    load_model('w/iter_4.pth', device='cpu')
    assert train(
        'again', COUNTING, AVERAGING, resume_from='w/iter_2.pth') is None
    again = read_checkpoint('again/iter_4.pth')
    assert again['added_state']['seen_images'].item() == 4
    for name, value in content['state_dict'].items():
        assert torch.equal(value, again['state_dict'][name]), name
    assert train('without', AVERAGING, resume_from='w/iter_2.pth') is None
    assert 'seen_images. No hook adds it now' in caplog.text.replace('\n', ' ')


def test_weights_of_other_names_are_refused(train):
    said = train('w', dict(type='RenamingHook'))
    assert 'backbone.' in said and 'custom_hooks' in said


def test_what_hooks_note_does_not_spoil_checkpoints(train, caplog):
    noting = [dict(type='NotingHook', number=number) for number in (1, 2)]
    assert train('w', *noting) is None
    assert 'meta.began (datetime)' in caplog.text
    meta = read_checkpoint('w/iter_4.pth')['meta']
    assert meta['began'] is None and meta['rate'] == 0.5
    assert meta['hook_msgs']['history'] == [1.0, None]
    load_model('w/iter_2.pth', device='cpu')
    assert train('x', *noting, resume_from='w/iter_2.pth') is None
    for number in (1, 2):
        assert f"'number': {number}, 'runner': None}} into {number}" in \
            caplog.text
