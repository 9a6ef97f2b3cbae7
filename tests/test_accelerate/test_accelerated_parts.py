"""Each accelerated part against the one that it stands in for."""
import copy

import pytest
import torch
import torch.nn.functional as F
from mmcv.cnn.bricks.transformer import FFN
from mmseg.models import build_head
from mmseg.models.backbones import SwinTransformer
from mmseg.models.backbones.swin import WindowMSA

from mbos.accelerate import accelerate, transformer
from mbos.accelerate.decoder import (add_enlarged_convolution,
                                     enlarged_convolution, is_late_cheaper)
from mbos.accelerate.prediction import prepare_for_prediction
from mbos.accelerate.transformer import cached_attention
from mbos.models.recomputation import recompute_backbone

CHANNELS = [12, 24, 48, 96]
SWIN = dict(embed_dims=12, depths=[2, 2, 1, 1], num_heads=[1, 2, 3, 4])


def random(*shape):
    return torch.randn(*shape, dtype=torch.float64)


def both(module, only):
    """A part with weights without zeros, accelerated and as it is."""
    torch.manual_seed(0)
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    fast = accelerate(copy.deepcopy(module.double()), only)
    assert [type(m)
            for m in fast.modules()] != [type(m) for m in module.modules()]
    return fast, module


def results(function, module, inputs):
    """What a function of tensors gives, and all gradients of it."""
    inputs = [x.clone().requires_grad_() for x in inputs]
    torch.manual_seed(0)
    out = function(*inputs)
    out = list(out) if isinstance(out, (list, tuple)) else [out]
    torch.manual_seed(1)
    total = sum((random(*x.shape) * x).sum() for x in out)
    leaves = inputs + list(module.parameters() if module else [])
    grads = torch.autograd.grad(total, leaves, allow_unused=True)
    return out, [g for g in grads if g is not None]


def assert_equal(found, expected):
    for ours, theirs in zip(found, expected):
        assert len(ours) == len(theirs)
        for a, b in zip(ours, theirs):
            assert torch.allclose(
                a, b, rtol=1e-9, atol=1e-10 * b.abs().max().item())


# ---- attention by a few windows at a time


@pytest.mark.parametrize('masked', [False, True])
def test_attention(masked, monkeypatch):
    """Against scores written out; three windows of two images at a time. The
    heads of a token lie side by side, as linear layers give them.
    """
    monkeypatch.setattr(transformer, 'CACHED', 3 * 2 * 9 * 9)
    torch.manual_seed(0)
    inputs = [*random(3, 10, 2, 9, 4), random(2, 9, 9)]
    mask = random(5, 9, 9) if masked else None

    def plain(q, k, v, bias):
        scores = q @ k.transpose(-2, -1) / 2 + bias
        if masked:
            scores = scores + mask.repeat(2, 1, 1)[:, None]
        return scores.softmax(-1) @ v

    def ours(q, k, v, bias):
        q, k, v = (
            x.transpose(1, 2).contiguous().transpose(1, 2) for x in (q, k, v))
        return cached_attention(q, k, v, bias, mask)

    expected = results(plain, None, inputs)
    with torch.no_grad():
        assert torch.allclose(ours(*inputs), expected[0][0])
    assert_equal(results(ours, None, inputs), expected)


@pytest.mark.parametrize('change, training', [
    (dict(), True),
    (dict(qkv_bias=False), True),
    (dict(qk_scale=0.3), True),
    (dict(attn_drop_rate=0.5), True),
    (dict(attn_drop_rate=0.5), False),
])
def test_windows_of_swin(change, training):
    """As mmseg's, also with settings that are left to it."""
    pair = both(
        WindowMSA(8, 2, (3, 3), **change).train(training), ['attention'])
    mask = torch.zeros(2, 9, 9, dtype=torch.float64)
    mask[0, 4:, :4] = mask[0, :4, 4:] = -100
    x = random(4, 9, 8)
    for mask in (None, mask):
        assert_equal(*(results(lambda x: module(x, mask), module, [x])
                       for module in pair))


# ---- decoders that convolve coarse maps before they enlarge them


@pytest.mark.parametrize('align_corners', [False, True])
@pytest.mark.parametrize('size', [(70, 96), (33, 31)])
@pytest.mark.parametrize('kernel', [1, 3, 5])
def test_enlarged_convolution(align_corners, size, kernel):
    inputs = random(2, 3, 12, 11), random(4, 3, kernel, kernel)

    def plain(x, weight):
        x = F.interpolate(
            x, size, mode='bilinear', align_corners=align_corners)
        return F.conv2d(x, weight, padding=kernel // 2)

    def ours(x, weight):
        return enlarged_convolution(x, weight, size, align_corners)

    expected = results(plain, None, inputs)
    assert_equal(results(ours, None, inputs), expected)
    total = random(2, 4, *size)
    found = total.contiguous(memory_format=torch.channels_last)
    add_enlarged_convolution(found, *inputs, align_corners)
    torch.testing.assert_close(found, total + expected[0][0].detach())


@pytest.mark.parametrize('channels, side, band, worth', [
    (32, 576, 32, [144, 72, 32, 6]),
    (32, 576, None, [32, 6]),
    (512, 128, 32, [72, 32, 6]),
])
def test_when_enlarging_late_is_cheaper(channels, side, band, worth):
    weight = torch.empty(channels, channels, 3, 3)
    assert worth == [
        small for small in (576, 288, 144, 72, 32, 6)
        if is_late_cheaper(weight, (small, small), (side, side), band)
    ]


def decoders(norm_cfg, align_corners=False):
    head = dict(
        type='UPerHead',
        in_channels=CHANNELS,
        in_index=[0, 1, 2, 3],
        channels=16,
        num_classes=2,
        norm_cfg=norm_cfg,
        align_corners=align_corners)
    return both(build_head(head), ['decoder'])


def maps(images, *size):
    return [
        random(images, c, *(-(-side // 2**i) for side in size))
        for i, c in enumerate(CHANNELS)
    ]


@pytest.mark.parametrize('norm_cfg', [dict(type='GN', num_groups=1), None])
@pytest.mark.parametrize('align_corners', [False, True])
@pytest.mark.parametrize('size', [(32, 48), (25, 17)])
def test_decoder(norm_cfg, align_corners, size):
    inputs = maps(2, *size)
    assert_equal(*(results(lambda *x: head._forward_feature(x), head, inputs)
                   for head in decoders(norm_cfg, align_corners)))


@torch.no_grad()
def test_decoder_that_predicts():
    """Of a size at which bands are worth it."""
    ours, theirs = decoders(dict(type='GN', num_groups=1))
    prepare_for_prediction(ours.eval())
    inputs = maps(1, 320, 256)
    torch.testing.assert_close(
        ours._forward_feature(inputs),
        theirs.eval()._forward_feature(inputs))


# ---- feed-forwards whose hidden layer fits into the cache


@torch.no_grad()
@pytest.mark.parametrize('change', [
    dict(),
    dict(add_identity=False),
    dict(num_fcs=3),
    dict(dropout_layer=dict(type='DropPath', drop_prob=0.5))
])
def test_feed_forward(change, monkeypatch):
    """In pieces of three tokens."""
    monkeypatch.setattr(transformer, 'CACHED', 3 * 24)
    ours, theirs = both(FFN(6, 24, **change), ['feed_forward'])
    largest = []
    ours.layers[0].register_forward_hook(
        lambda *args: largest.append(len(args[-1])))
    inputs = random(2, 2, 5, 6)
    for arguments in (inputs, inputs[:1]):
        for mode in (True, False):
            outputs = []
            for module in (ours, theirs):
                torch.manual_seed(1)
                outputs.append(module.train(mode)(*arguments))
            torch.testing.assert_close(*outputs)
    assert max(largest[-2:]) <= 3


# ---- Swin without the branches that stochastic depth drops


@pytest.mark.parametrize('images', [1, 2])
@pytest.mark.parametrize('recompute', [False, True])
@pytest.mark.parametrize('only', [['stochastic_depth'], None])
def test_stochastic_depth(images, recompute, only):
    """A dropped branch gives zero gradients, as mmseg's, not none at all."""
    ours, theirs = both(SwinTransformer(drop_path_rate=0.8, **SWIN), only)
    if recompute:
        recompute_backbone(ours)
    x = random(images, 3, 64, 64)
    dropped = 0
    for seed in range(5):
        found, states = [], []
        for backbone in (ours, theirs):

            def run(x):
                torch.manual_seed(seed)
                out = backbone(x)
                states.append(torch.get_rng_state())
                return out

            found.append(results(run, backbone, [x]))
        assert_equal(*found)
        assert torch.equal(*states)
        dropped += sum(not g.any() for g in found[1][1])
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
