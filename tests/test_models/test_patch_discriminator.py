"""Shapes, initial weights and gradients of the discriminators."""
import math

import pytest
import torch

from mbos.models.patch_discriminator import PatchDiscriminator, fixed_verdicts


@pytest.mark.parametrize('settings, patch', [
    (dict(), 32),
    (dict(num_convs=3, downscale=4), 32),
    (dict(num_convs=1, downscale=3), 6),
])
@pytest.mark.parametrize('size', [(32, 32), (70, 127)])
def test_one_verdict_per_patch(settings, patch, size):
    net = PatchDiscriminator(in_channels=4, channels=2, **settings)
    out = net(torch.rand(2, 4, *size))
    assert out.shape == (2, 1, size[0] // patch, size[1] // patch)


def test_what_is_refused():
    with pytest.raises(ValueError, match=r'at least 32 .*\(31, 64\)'):
        PatchDiscriminator(1, 2)(torch.rand(1, 1, 31, 64))


def test_downscaled_probabilities_are_averages():
    net = PatchDiscriminator(1, 2, num_convs=2, downscale=2)
    fine = torch.rand(1, 1, 16, 16)
    coarse = fine.view(1, 1, 8, 2, 8, 2).mean((3, 5))
    plain = PatchDiscriminator(1, 2, num_convs=2)
    plain.load_state_dict(net.state_dict())
    torch.testing.assert_close(net(fine), plain(coarse))


def test_layers_are_the_published_ones():
    net = PatchDiscriminator(in_channels=2)
    widths = [(c.in_channels, c.out_channels) for c in net.convs]
    assert widths == [(2, 64), (64, 128), (128, 256), (256, 512), (512, 1)]
    assert all(
        c.kernel_size == (4, 4) and c.stride == (2, 2) and c.padding == (1, 1)
        for c in net.convs)
    x = prob = torch.rand(1, 2, 64, 64)
    for conv in net.convs[:-1]:
        x = torch.nn.functional.leaky_relu(conv(x), 0.2)
    assert torch.equal(net(prob), net.convs[-1](x))


def test_initial_weights():
    """Kaiming normal: gain / sqrt(out channels * 16), biases 0."""
    torch.manual_seed(0)
    net = PatchDiscriminator(in_channels=4, channels=32)
    net.init_weights()
    gains = [math.sqrt(2 / (1 + 0.2**2))] * 4 + [math.sqrt(2)]
    for conv, gain in zip(net.convs, gains):
        std = gain / math.sqrt(conv.out_channels * 16)
        weight = conv.weight.detach()
        # five standard errors of a standard deviation
        tolerance = 5 / math.sqrt(2 * weight.numel())
        assert weight.std().item() == pytest.approx(std, rel=tolerance)
        assert not conv.bias.any()


def test_fixed_verdicts_have_a_gradient_for_the_probabilities_only():
    net = PatchDiscriminator(2, 3).double()
    prob = torch.rand(2, 2, 32, 64, dtype=torch.float64, requires_grad=True)
    verdicts, fixed = net(prob), fixed_verdicts(net, prob)
    assert torch.equal(verdicts, fixed)
    expected, = torch.autograd.grad(verdicts.square().sum(), prob)
    fixed.square().sum().backward()
    assert torch.allclose(prob.grad, expected)
    assert all(p.grad is None for p in net.parameters())
    assert all(p.requires_grad for p in net.parameters())
