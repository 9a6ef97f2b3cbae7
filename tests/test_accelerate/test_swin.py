"""Swin without padding in its linear layers and without dropped branches."""
import copy

import pytest
import torch
from mmseg.models.backbones import SwinTransformer

from mbos.accelerate import accelerate
from mbos.accelerate.swin import window_order
from mbos.models.recomputation import recompute_backbone
from tests.test_accelerate.same import (assert_equal, noisy,
                                        outputs_and_gradients)

SWIN = dict(embed_dims=12, depths=[2, 2, 1, 1], num_heads=[1, 2, 3, 4])


@pytest.mark.parametrize('others', [(), ('attention', )])
@pytest.mark.parametrize('shape', [(2, 96, 64), (1, 224, 224), (3, 50, 70)])
def test_padding(shape, others):
    theirs = noisy(SwinTransformer(drop_path_rate=0.0, **SWIN))
    ours = accelerate(copy.deepcopy(theirs), ['padding', *others])
    images, *size = shape
    x = torch.randn(images, 3, *size, dtype=torch.float64)
    assert_equal(
        outputs_and_gradients(lambda x: ours(x[0]), ours, [x]),
        outputs_and_gradients(lambda x: theirs(x[0]), theirs, [x]))


def test_padding_does_not_pass_the_linear_layers():
    """64 real positions of 14 x 14 padded ones, at 256 x 256 pixels."""
    ours = accelerate(SwinTransformer(**SWIN))
    seen = []
    ours.stages[3].blocks[0].attn.w_msa.qkv.register_forward_hook(
        lambda module, args, out: seen.append(out.shape[1]))
    ours(torch.randn(1, 3, 256, 256))
    assert seen == [64]


@pytest.mark.parametrize('images', [1, 2])
@pytest.mark.parametrize('recompute', [False, True])
@pytest.mark.parametrize('only', [['stochastic_depth'], None])
def test_stochastic_depth(images, recompute, only):
    """A dropped branch gives zero gradients, as mmseg's, not none at all."""
    theirs = noisy(SwinTransformer(drop_path_rate=0.8, **SWIN))
    ours = accelerate(copy.deepcopy(theirs), only)
    if recompute:
        recompute_backbone(ours)
    x = torch.randn(images, 3, 64, 64, dtype=torch.float64)
    dropped = 0
    for seed in range(5):
        results, states = [], []
        for backbone in (ours, theirs):
            torch.manual_seed(seed)
            results.append(
                outputs_and_gradients(lambda x: backbone(x[0]), backbone, [x]))
            torch.manual_seed(seed)
            backbone(x)
            states.append(torch.get_rng_state())
        assert_equal(*results)
        assert torch.equal(*states)
        dropped += sum(not g.any() for g in results[1][1])
    assert dropped > 0 or images > 1


@pytest.mark.parametrize('with_cp', [False, True])
def test_dropped_branches_are_not_computed(with_cp):
    """But mmseg's own checkpointing, where configured, is left alone."""
    ours = accelerate(
        SwinTransformer(drop_path_rate=0.99, with_cp=with_cp, **SWIN))
    last = ours.stages[3].blocks[0]
    calls = []
    last.norm2.register_forward_hook(lambda *args: calls.append(1))
    torch.manual_seed(0)
    for _ in range(10):
        ours(torch.randn(1, 3, 32, 32))
    assert len(calls) == 10 if with_cp else len(calls) < 5


def test_order_of_windows_by_hand():
    """A 2 x 3 map in windows of 2: a column of padding."""
    order = window_order(2, 3, 2, 0, 1)
    #  0 1 2 .     windows 0 1 3 4 and 2 . 5 .
    #  3 4 5 .
    first_part = order.to_windows.view(3, -1)[0].div(3).tolist()
    assert first_part == [0, 1, 3, 4, 2, 6, 5, 6]
    assert order.padded.view(3, -1)[0].tolist() == [5, 7]
    assert order.outputs.tolist() == [0, 1, 4, 2, 3, 6]
    assert order.mask is None
    shifted = window_order(4, 4, 2, 1, 1)
    assert shifted.mask.shape == (4, 4, 4)
    assert not shifted.mask[0].any()  # the first window is whole
    # the last one joins the four corners
    corners = torch.full((4, 4), -100.0).fill_diagonal_(0)
    assert torch.equal(shifted.mask[3], corners)
