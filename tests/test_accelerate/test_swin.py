"""Swin without the branches that stochastic depth drops."""
import copy

import pytest
import torch
from mmseg.models.backbones import SwinTransformer

from mbos.accelerate import accelerate
from mbos.models.recomputation import recompute_backbone
from tests.test_accelerate.same import (assert_equal, noisy,
                                        outputs_and_gradients)

SWIN = dict(embed_dims=12, depths=[2, 2, 1, 1], num_heads=[1, 2, 3, 4])


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


def test_dropped_branches_are_not_computed():
    ours = accelerate(SwinTransformer(drop_path_rate=0.99, **SWIN))
    calls = []
    ours.stages[3].blocks[0].norm2.register_forward_hook(
        lambda *args: calls.append(1))
    torch.manual_seed(0)
    for _ in range(10):
        ours(torch.randn(1, 3, 32, 32))
    assert len(calls) < 5
