"""A network that only predicts: the same results."""
import pytest
import torch
from mmcv.cnn import ConvModule
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from mbos.accelerate.prediction import fold_batch_norm, prepare_for_prediction


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


def efficientnet():
    """Its norms of timm have activations, which must stay."""
    timm = pytest.importorskip('timm')
    network = timm.create_model(
        'tf_efficientnet_lite0', features_only=True, pretrained=False)
    for module in network.modules():
        if isinstance(module, _BatchNorm):
            module.running_mean.normal_(std=0.1)
    return network


@pytest.mark.parametrize('build, kept', [(Block, 1), (Undecided, 1),
                                         (efficientnet, 0)])
@torch.no_grad()
def test_only_what_may_be_folded(build, kept):
    """Not the norm whose input is added, too."""
    network, x = build().eval(), torch.randn(2, 3, 64, 64)
    expected, before = network(x), norms(network)
    fold_batch_norm(network.train())
    assert norms(network) == before > kept
    fold_batch_norm(network.eval())
    torch.testing.assert_close(network(x), expected, atol=1e-4, rtol=1e-4)
    assert norms(network) == kept


@pytest.mark.parametrize('kernel, stride', [(1, 1), (3, 2), (5, 2), (5, 1)])
@pytest.mark.parametrize('size', [(12, 20), (11, 12)])
@torch.no_grad()
def test_convolutions_padded_as_tensorflow_does(kernel, stride, size):
    layers = pytest.importorskip('timm.layers')
    network = nn.Sequential(layers.Conv2dSame(4, 6, kernel, stride, groups=2))
    x = torch.randn(2, 4, *size)
    expected = network(x)
    prepare_for_prediction(network.eval())
    torch.testing.assert_close(network(x), expected)


@pytest.mark.parametrize('spread, offset', [(1, 20), (0.001, 500), (0, 500)])
@torch.no_grad()
def test_norm_and_activation(spread, offset):
    """Of maps of several megabytes, whose mean is far from 0."""
    network = ConvModule(
        3, 8, 3, norm_cfg=dict(type='GN', num_groups=1)).eval()
    network.norm.weight.uniform_(-1, 2)
    network.norm.bias.normal_()
    network.conv.weight.abs_().add_(0.1)
    network.conv.weight[:] = network.conv.weight[:1].clone()  # all alike
    x = spread * torch.randn(2, 3, 301, 211) + offset
    expected = network(x)
    prepare_for_prediction(network)
    torch.testing.assert_close(network(x), expected, atol=1e-4, rtol=1e-4)
