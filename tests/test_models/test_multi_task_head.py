"""The heads of all tasks, side by side."""
import math

import pytest
import torch
from mmcv.cnn import ConvModule
from mmseg.models import build_head

from tests.utils import TASKS, tiny_model_cfg

CHANNELS = (12, 24, 48, 96)


def head(tasks=TASKS, window=8, dropout=0.0, **kwargs):
    cfg = tiny_model_cfg(window=window).decode_head
    cfg.head.dropout_ratio = dropout
    return build_head(dict(cfg, tasks=list(tasks), **kwargs))


def maps(images=3, size=(16, 24)):
    return [
        torch.randn(images, c, size[0] >> i, size[1] >> i)
        for i, c in enumerate(CHANNELS)
    ]


def test_logits_by_task():
    net = head().eval()
    inputs = maps()
    logits = net(inputs)
    assert {
        t: tuple(v.shape)
        for t, v in logits.items()
    } == {
        'vessel': (3, 1, 16, 24),
        'lesion': (3, 4, 16, 24),
        'odoc': (3, 2, 16, 24)
    }
    assert net.num_classes == net.out_channels == 7
    side_by_side = net.forward_test(inputs, [], {})
    assert torch.equal(side_by_side, torch.cat(list(logits.values()), 1))


@pytest.mark.parametrize('tasks', [TASKS, ('vessel', )])
def test_initial_weights(tasks):
    """Fan-out counts the groups of all tasks; classifiers are N(0, 0.01)."""
    torch.manual_seed(0)
    net = head(tasks)
    net.init_weights()
    for module in net.heads.modules():
        if isinstance(module, ConvModule):
            weight = module.conv.weight
            kernel = weight.shape[-1]
            std = math.sqrt(2 / (len(tasks) * 16 * kernel**2))
            tolerance = 5 / math.sqrt(2 * weight.numel())
            assert weight.std().item() == pytest.approx(std, rel=tolerance)
            assert module.norm.weight.eq(1).all()
    seg = torch.cat([h.conv_seg.weight.flatten() for h in net.heads.values()])
    assert 0.005 < seg.std().item() < 0.015
    assert not any(h.conv_seg.bias.any() for h in net.heads.values())


@pytest.mark.parametrize('whole_tasks', [False, True])
def test_dropout(whole_tasks):
    """Of channels, or as published of all channels of a task."""
    net = head(window=None, dropout=0.5, drop_whole_tasks=whole_tasks).train()
    inputs, seen = maps(), {}
    torch.manual_seed(0)
    for task, module in net.heads.items():
        # what reaches the dropout is never zero
        module._forward_feature = lambda inputs: torch.ones(40, 16, 2, 2)
        module.conv_seg.register_forward_pre_hook(
            lambda _, inputs, task=task: seen.update({task: inputs[0]}))
    net(inputs)
    for x in seen.values():
        assert set(x.unique().tolist()) == {0.0, 2.0}
        assert (x.amax((2, 3)) == x.amin((2, 3))).all()
        share = x[:, :, 0, 0].bool().float().mean(1)  # kept, by image
        assert share.mean().item() == pytest.approx(0.5, abs=0.3)
        if whole_tasks:
            assert set(share.tolist()) == {0.0, 1.0}
        else:  # 16 channels an image, half of them kept
            assert 0.2 < share.min() and share.max() < 0.95
    # each task by its own draw
    assert not torch.equal(seen['vessel'], seen['odoc'])
