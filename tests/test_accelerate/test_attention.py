"""Attention by a few windows at a time."""
import copy

import pytest
import torch
from mmseg.models.backbones.swin import WindowMSA

from mbos.accelerate import accelerate
from mbos.accelerate.attention import CachedWindowMSA, cached_attention
from tests.test_accelerate.same import (assert_equal, noisy,
                                        outputs_and_gradients)


@pytest.mark.parametrize('strided', [False, True])
@pytest.mark.parametrize('masked', [False, True])
def test_attention(masked, strided, monkeypatch):
    """Against scores written out; three windows of two images at a time.

    Strided: the heads of a token lie side by side, as linear layers give them.
    """
    monkeypatch.setattr('mbos.accelerate.attention.CACHED_SCORES',
                        3 * 2 * 9 * 9)
    torch.manual_seed(0)
    q, k, v = torch.randn(3, 10, 2, 9, 4, dtype=torch.float64)
    bias = torch.randn(2, 9, 9, dtype=torch.float64)
    mask = torch.randn(5, 9, 9, dtype=torch.float64) if masked else None

    def plain(inputs):
        q, k, v, bias = inputs
        scores = q @ k.transpose(-2, -1) / 2 + bias
        if masked:
            scores = scores + mask.repeat(2, 1, 1)[:, None]
        return scores.softmax(-1) @ v

    def ours(inputs):
        if strided:
            inputs = [x.transpose(1, 2).contiguous().transpose(1, 2)
                      for x in inputs[:3]] + inputs[3:]  # yapf: disable
        return cached_attention(*inputs, mask)

    expected = outputs_and_gradients(plain, None, [q, k, v, bias])
    with torch.no_grad():
        assert torch.allclose(ours([q, k, v, bias]), expected[0][0])
    assert_equal(outputs_and_gradients(ours, None, [q, k, v, bias]), expected)


@pytest.mark.parametrize('change, training', [
    (dict(), True),
    (dict(qkv_bias=False), True),
    (dict(qk_scale=0.3), True),
    (dict(attn_drop_rate=0.5), True),
    (dict(attn_drop_rate=0.5), False),
])
def test_windows_of_swin(change, training):
    """As mmseg's, also with settings that are left to it."""
    theirs = noisy(WindowMSA(8, 2, (3, 3), **change)).train(training)
    ours = accelerate(copy.deepcopy(theirs), ['attention'])
    assert type(ours) is CachedWindowMSA
    x = torch.randn(4, 9, 8, dtype=torch.float64)
    mask = torch.zeros(2, 9, 9, dtype=torch.float64)
    mask[0, 4:, :4] = mask[0, :4, 4:] = -100
    for masked in (None, mask):
        results = []
        for module in (ours, theirs):
            torch.manual_seed(0)
            results.append(
                outputs_and_gradients(lambda x: module(x[0], masked), module,
                                      [x]))
        assert_equal(*results)
