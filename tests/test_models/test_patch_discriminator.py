"""Shapes, initial weights and freezing of the discriminators."""
import math

import pytest
import torch

from mbos.models.patch_discriminator import (PatchDiscriminator, frozen,
                                             verdict_accuracy)


@pytest.mark.parametrize('size, out', [
    ((32, 32), (1, 1)),
    ((64, 96), (2, 3)),
    ((70, 127), (2, 3)),
])
def test_one_verdict_per_patch_of_32(size, out):
    net = PatchDiscriminator(in_channels=4, channels=2)
    assert net(torch.rand(2, 4, *size)).shape == (2, 1, *out)


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


def test_small_images_are_refused():
    with pytest.raises(ValueError, match=r'at least 32 .*\(31, 64\)'):
        PatchDiscriminator(1, 2)(torch.rand(1, 1, 31, 64))


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


def test_frozen_weights_pass_gradients_on():
    net = PatchDiscriminator(1, 2)
    net.convs[0].bias.requires_grad_(False)
    prob = torch.rand(1, 1, 32, 32, requires_grad=True)
    with frozen(net):
        verdict = net(prob)
    verdict.sum().backward()
    assert prob.grad.any()
    assert all(p.grad is None for p in net.parameters())
    # what was frozen before stays so
    assert [n for n, p in net.named_parameters()
            if not p.requires_grad] == ['convs.0.bias']


def test_accuracy_by_hand():
    logits = torch.tensor([[[[1., -1.], [2., 0.]]], [[[-1., -1.], [-1., 1.]]]])
    assert verdict_accuracy(logits, True).tolist() == [0.5, 0.25]
    assert verdict_accuracy(logits, False).tolist() == [0.5, 0.75]
