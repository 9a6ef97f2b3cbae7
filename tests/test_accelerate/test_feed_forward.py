"""Feed-forwards that keep their hidden layer once."""
import copy

import pytest
import torch
from mmcv.cnn.bricks.transformer import FFN

from mbos.accelerate import accelerate
from mbos.accelerate import feed_forward as module
from mbos.accelerate.feed_forward import ThriftyFFN
from tests.test_accelerate.same import (assert_equal, noisy,
                                        outputs_and_gradients)


def both(**changes):
    settings = dict(act_cfg=dict(type='GELU'))
    settings.update(changes)
    theirs = noisy(FFN(6, 24, **settings))
    return accelerate(copy.deepcopy(theirs), ['feed_forward']), theirs


@pytest.mark.parametrize('pieces_of', [1, 3, 10])
@pytest.mark.parametrize('change', [dict(), dict(add_identity=False)])
def test_feed_forward(pieces_of, change, monkeypatch):
    monkeypatch.setattr(module, 'CACHED_HIDDEN', pieces_of * 24)
    ours, theirs = both(**change)
    assert type(ours) is ThriftyFFN
    inputs = list(torch.randn(2, 2, 5, 6, dtype=torch.float64))
    for arguments in (inputs, inputs[:1]):
        assert_equal(
            outputs_and_gradients(lambda x: ours(*x), ours, arguments),
            outputs_and_gradients(lambda x: theirs(*x), theirs, arguments))
    with torch.autocast('cpu', torch.bfloat16):  # is left to mmcv
        x = torch.randn(3, 6)
        assert torch.equal(ours.float()(x), theirs.float()(x))


def test_the_hidden_layer_is_kept_once():
    ours, theirs = both()
    for feed_forward, copies in ((ours, 1), (theirs, 2)):
        kept = []

        def pack(x):
            if x.shape[-1] == 24 and x.numel() == 240:
                kept.append(x)
            return x

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
            feed_forward(torch.randn(1, 10, 6, dtype=torch.float64))
        assert len(kept) >= copies
        assert (len(kept) == 1) == (feed_forward is ours)


@pytest.mark.parametrize('change', [
    dict(act_cfg=dict(type='ReLU')),
    dict(num_fcs=3),
    dict(ffn_drop=0.5),
    dict(dropout_layer=dict(type='DropPath', drop_prob=0.5)),
])
def test_other_feed_forwards(change):
    ours, theirs = both(**change)
    x = torch.randn(3, 6, dtype=torch.float64)
    outputs = []
    for feed_forward in (ours, theirs):
        torch.manual_seed(1)
        outputs.append(feed_forward(x))
    assert torch.allclose(*outputs)
