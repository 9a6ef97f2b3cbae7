"""Checkpoints hold what weights-only loading reads, whatever hooks put in."""
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


HOOKS = '''
import datetime
import numpy as np
from mmcv.runner import HOOKS, Hook


@HOOKS.register_module(force=True)
class NotingHook(Hook):
    """Notes what no checkpoint can hold, as hooks in the field do."""

    def __init__(self, number=0):
        self.number, self.loaded = number, None

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


def test_what_hooks_note_does_not_spoil_checkpoints(tool, tmp_path, caplog,
                                                    monkeypatch):
    write_data(tmp_path / 'data', TWO)
    (tmp_path / 'noting_hooks.py').write_text(HOOKS)
    monkeypatch.setattr(sys, 'path', [str(tmp_path), *sys.path])
    config = write_config(
        tmp_path / 'notes.py',
        config_of(
            tmp_path / 'data',
            TWO,
            custom_imports=dict(imports=['noting_hooks']),
            custom_hooks=[
                dict(type='NotingHook', number=1),
                dict(type='NotingHook', number=2)
            ]))
    assert tool('train.py', config, '--work-dir', 'w', '--no-validate') is None
    assert 'meta.began (datetime)' in caplog.text
    meta = read_checkpoint('w/iter_4.pth')['meta']
    assert meta['began'] is None and meta['rate'] == 0.5
    assert meta['hook_msgs']['history'] == [1.0, None]
    load_model('w/iter_2.pth', device='cpu')
    assert tool('train.py', config, '--work-dir', 'x', '--no-validate',
                '--resume-from', 'w/iter_2.pth') is None
    for number in (1, 2):
        assert f"'number': {number}, 'runner': None}} into {number}" in \
            caplog.text
