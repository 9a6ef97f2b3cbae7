"""BatchNorm folded into convolutions: the same results without it."""
import pytest
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from mbos.accelerate.folded_norm import fold_batch_norm


class Block(nn.Module):
    """A convolution with BatchNorm, and one whose output is used twice."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3, bias=False), norm_of(4)
        self.again, self.after = nn.Conv2d(4, 4, 1), norm_of(4)

    def forward(self, x):
        x = self.norm(self.conv(x)).relu()
        y = self.again(x)
        return y + self.after(y)


class Undecided(nn.Module):
    """Cannot be traced as a whole; its block can."""

    def __init__(self):
        super().__init__()
        self.block = Block()

    def forward(self, x):
        return self.block(x) if x.sum() > 0 else self.block(-x)


def norm_of(channels):
    norm = nn.BatchNorm2d(channels)
    with torch.no_grad():
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2)
        norm.weight.normal_()
        norm.bias.normal_()
    return norm


def norms(network):
    return sum(isinstance(m, _BatchNorm) for m in network.modules())


@pytest.mark.parametrize('build', [Block, Undecided])
def test_only_what_may_be_folded(build):
    network = build().eval()
    x = torch.randn(2, 3, 9, 8)
    with torch.no_grad():
        expected = network(x)
        assert fold_batch_norm(network) == 1
        torch.testing.assert_close(network(x), expected)
    assert norms(network) == 1, 'the one whose input is added, too'


def test_training_networks_are_left_alone():
    assert fold_batch_norm(Block().train()) == 0


def test_activations_of_timm_stay():
    timm = pytest.importorskip('timm')
    network = timm.create_model(
        'tf_efficientnet_lite0', features_only=True, pretrained=False).eval()
    for module in network.modules():
        if isinstance(module, _BatchNorm):
            module.running_mean.normal_(std=0.1)
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        expected = network(x)
        assert fold_batch_norm(network) > 40
        for ours, theirs in zip(network(x), expected):
            torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)
    assert norms(network) == 0
