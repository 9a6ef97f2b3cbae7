"""The leaner backbone, decoder and attention compute what mmseg's do."""
import pytest
import torch
import torch.nn.functional as F
from mmseg.models import build_head
from mmseg.models.backbones import SwinTransformer

from mbos.models import swin, uper_decoder
from mbos.models.swin import LeanSwinTransformer, window_order
from mbos.models.uper_decoder import enlarged_convolution, worth_enlarging_late
from mbos.models.window_attention import window_attention

SWIN = dict(embed_dims=12, depths=[2, 2, 1, 1], num_heads=[1, 2, 3, 4])
CHANNELS = [12, 24, 48, 96]


def noisy(module):
    """Weights without zeros, so that every one of them matters."""
    torch.manual_seed(0)
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return module.double()


def outputs_and_gradients(function, module, inputs):
    """What a function of tensors gives, and all gradients of it."""
    inputs = [x.clone().requires_grad_() for x in inputs]
    out = function(inputs)
    out = list(out) if isinstance(out, (list, tuple)) else [out]
    torch.manual_seed(1)
    total = sum((torch.randn(x.shape, dtype=x.dtype) * x).sum() for x in out)
    leaves = inputs + list(module.parameters() if module else [])
    grads = torch.autograd.grad(total, leaves, allow_unused=True)
    return out, [g for g in grads if g is not None]


def assert_equal(found, expected):
    for ours, theirs in zip(found, expected):
        assert len(ours) == len(theirs)
        for a, b in zip(ours, theirs):
            assert torch.allclose(
                a, b, rtol=1e-9, atol=1e-10 * b.abs().max().item())


@pytest.mark.parametrize('shape', [(2, 96, 64), (1, 224, 224), (3, 50, 70)])
def test_backbone(shape):
    theirs = noisy(SwinTransformer(drop_path_rate=0.0, **SWIN))
    ours = LeanSwinTransformer(drop_path_rate=0.0, **SWIN).double()
    ours.load_state_dict(theirs.state_dict())
    images, *size = shape
    x = torch.randn(images, 3, *size, dtype=torch.float64)
    assert_equal(
        outputs_and_gradients(lambda x: ours(x[0]), ours, [x]),
        outputs_and_gradients(lambda x: theirs(x[0]), theirs, [x]))


@pytest.mark.parametrize('images', [1, 2])
@pytest.mark.parametrize('recompute', [False, True])
def test_stochastic_depth(images, recompute):
    """A dropped branch gives zero gradients, as mmseg's, not none at all."""
    theirs = noisy(SwinTransformer(drop_path_rate=0.8, **SWIN))
    ours = LeanSwinTransformer(drop_path_rate=0.8, **SWIN).double()
    ours.load_state_dict(theirs.state_dict())
    ours.recompute = recompute
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
    ours = LeanSwinTransformer(drop_path_rate=0.99, with_cp=with_cp, **SWIN)
    last = ours.stages[3].blocks[0]
    calls = []
    last.norm2.register_forward_hook(lambda *args: calls.append(1))
    torch.manual_seed(0)
    for _ in range(10):
        ours(torch.randn(1, 3, 32, 32))
    assert len(calls) == 10 if with_cp else len(calls) < 5


def test_backbone_starts_from_the_same_weights():
    states = []
    for kind in (SwinTransformer, LeanSwinTransformer):
        torch.manual_seed(0)
        backbone = kind(**SWIN)
        backbone.init_weights()
        states.append(backbone.state_dict())
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(v, states[1][n]) for n, v in states[0].items())


def test_backbone_elsewhere_is_mmsegs(monkeypatch):
    """As on a GPU, where nothing was measured."""
    ours = LeanSwinTransformer(drop_path_rate=0.0, **SWIN)
    x = torch.randn(1, 3, 64, 96)
    expected = ours(x)
    monkeypatch.setattr(swin, 'eager_on_cpu', lambda x: False)
    for a, b in zip(ours(x), expected):
        assert a.is_contiguous()
        assert torch.allclose(a, b, atol=1e-5)


def test_padding_does_not_pass_the_linear_layers():
    """64 real positions of 14 x 14 padded ones, at 256 x 256 pixels."""
    ours = LeanSwinTransformer(**SWIN)
    seen = []
    ours.stages[3].blocks[0].attn.w_msa.qkv.register_forward_hook(
        lambda module, args, out: seen.append(out.shape[1]))
    ours(torch.randn(1, 3, 256, 256))
    assert seen == [64]


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


@pytest.mark.parametrize('strided', [False, True])
@pytest.mark.parametrize('masked', [False, True])
def test_attention(masked, strided, monkeypatch):
    """Against scores written out; three windows of two images at a time.

    Strided: the heads of a token lie side by side, as linear layers give them.
    """
    monkeypatch.setattr('mbos.models.window_attention.CACHED_SCORES',
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
        return window_attention(*inputs, mask)

    expected = outputs_and_gradients(plain, None, [q, k, v, bias])
    assert_equal(outputs_and_gradients(ours, None, [q, k, v, bias]), expected)
    monkeypatch.setattr('mbos.models.window_attention.eager_on_cpu',
                        lambda x: False)
    assert_equal(outputs_and_gradients(ours, None, [q, k, v, bias]), expected)


@pytest.mark.parametrize('align_corners', [False, True])
@pytest.mark.parametrize('size', [(24, 40), (13, 9)])
@pytest.mark.parametrize('kernel', [1, 3, 5])
def test_enlarged_convolution(align_corners, size, kernel):
    x = torch.randn(2, 3, 6, 5, dtype=torch.float64)
    weight = torch.randn(4, 3, kernel, kernel, dtype=torch.float64)

    def plain(inputs):
        x = F.interpolate(
            inputs[0], size, mode='bilinear', align_corners=align_corners)
        return F.conv2d(x, inputs[1], padding=kernel // 2)

    assert_equal(
        outputs_and_gradients(
            lambda i: enlarged_convolution(*i, size, align_corners), None,
            [x, weight]), outputs_and_gradients(plain, None, [x, weight]))


def test_when_enlarging_late_is_worth_it():
    weight = torch.empty(128, 128, 3, 3)
    assert worth_enlarging_late(weight, (16, 16), (128, 128))
    assert worth_enlarging_late(weight, (32, 32), (128, 128))
    assert not worth_enlarging_late(weight, (64, 64), (128, 128))
    assert not worth_enlarging_late(weight, (128, 128), (128, 128))


def decoder(kind, norm_cfg, align_corners):
    return noisy(
        build_head(
            dict(
                type=kind,
                in_channels=CHANNELS,
                in_index=[0, 1, 2, 3],
                channels=16,
                num_classes=2,
                norm_cfg=norm_cfg,
                align_corners=align_corners)))


@pytest.mark.parametrize('norm_cfg', [dict(type='GN', num_groups=1), None])
@pytest.mark.parametrize('align_corners', [False, True])
@pytest.mark.parametrize('size', [(32, 48), (25, 17)])
def test_decoder(norm_cfg, align_corners, size, monkeypatch):
    ours, theirs = (
        decoder(kind, norm_cfg, align_corners)
        for kind in ('LeanUPerHead', 'UPerHead'))
    maps = [
        torch.randn(
            2, c, *(-(-side // 2**i) for side in size), dtype=torch.float64)
        for i, c in enumerate(CHANNELS)
    ]
    expected = outputs_and_gradients(theirs._forward_feature, theirs, maps)
    assert_equal(
        outputs_and_gradients(ours._forward_feature, ours, maps), expected)
    monkeypatch.setattr(uper_decoder, 'eager_on_cpu', lambda x: False)
    assert_equal(
        outputs_and_gradients(ours._forward_feature, ours, maps), expected)
