"""Each accelerated part against the one that it stands in for."""
import copy

import pytest
import torch
from mmcv.cnn.bricks.transformer import FFN
from mmseg.models.backbones import SwinTransformer
from mmseg.models.backbones.swin import WindowMSA
from mmseg.models.decode_heads import UPerHead

from mbos.accelerate import accelerate, transformer
from mbos.accelerate.decoder import is_late_cheaper
from mbos.accelerate.prediction import prepare_for_prediction
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
    assert str(fast) != str(module)
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


@pytest.mark.parametrize('change, training', [
    (dict(), True), (dict(qkv_bias=False), True), (dict(qk_scale=0.3), True),
    (dict(attn_drop_rate=0.5), True),
    (dict(attn_drop_rate=0.5), False)])  # yapf: disable
def test_attention(change, training, monkeypatch):
    """As mmseg's, three of five windows of two maps at a time; also with
    settings that are left to it.
    """
    monkeypatch.setattr(transformer, 'CACHED', 3 * 2 * 9 * 9)
    ours, theirs = both(
        WindowMSA(8, 2, (3, 3), **change).train(training), ['attention'])
    x = random(10, 9, 8)
    for mask in (None, random(5, 9, 9)):
        expected = results(lambda x: theirs(x, mask), theirs, [x])
        assert_equal(results(lambda x: ours(x, mask), ours, [x]), expected)
        with torch.no_grad():
            torch.manual_seed(0)
            assert torch.allclose(ours(x, mask), expected[0][0])


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


def decoders(norm_cfg, align_corners):
    head = UPerHead(
        in_channels=CHANNELS, in_index=[0, 1, 2, 3], channels=16,
        num_classes=2, norm_cfg=norm_cfg,
        align_corners=align_corners)  # yapf: disable
    return both(head, ['decoder'])


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


@pytest.mark.parametrize('align_corners', [False, True])
@torch.no_grad()
def test_decoder_that_predicts(align_corners):
    """Of a size at which bands are worth it."""
    ours, theirs = decoders(dict(type='GN', num_groups=1), align_corners)
    prepare_for_prediction(ours.eval())
    inputs = maps(1, 320, 256)
    torch.testing.assert_close(
        ours._forward_feature(inputs),
        theirs.eval()._forward_feature(inputs))


@torch.no_grad()
@pytest.mark.parametrize('change', [
    dict(), dict(add_identity=False), dict(num_fcs=3),
    dict(dropout_layer=dict(type='DropPath', drop_prob=0.5))])  # yapf: disable
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


@pytest.mark.parametrize('images', [1, 2])
@pytest.mark.parametrize('recompute', [False, True])
def test_whole_swin(images, recompute):
    """With the same branches dropped, and the same numbers drawn."""
    ours, theirs = both(SwinTransformer(drop_path_rate=0.8, **SWIN), None)
    if recompute:
        recompute_backbone(ours)
    x, found, states = random(images, 3, 64, 64), [], []
    for backbone in (ours, theirs):

        def run(x):
            torch.manual_seed(0)
            out = backbone(x)
            states.append(torch.get_rng_state())
            return out

        found.append(results(run, backbone, [x]))
    assert_equal(*found)
    assert torch.equal(*states)
