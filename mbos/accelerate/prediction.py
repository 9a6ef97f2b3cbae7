"""A network that only predicts: the same results in fewer passes over maps.

Weights change and maps are overwritten, so such a network is neither trained
nor saved.
"""
import sys
from collections import Counter

import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule
from torch import Tensor, fx, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_weights

CACHED_BYTES = 2**20
"""int: Of the rows of a map that are worked on at a time."""


def prepare_for_prediction(model: nn.Module) -> None:
    """Let a network predict faster on CPU, in place: BatchNorm is folded, maps
    are channels last in memory, normalisation and activations of mmcv's blocks
    overwrite their input, and nothing is padded beforehand.
    """
    fold_batch_norm(model)
    model.to(memory_format=torch.channels_last)
    conv_same = getattr(sys.modules.get('timm.layers'), 'Conv2dSame', None)
    for module in model.modules():
        if type(module) is conv_same:
            module.__class__ = _PaddedWhileConvolving
        elif isinstance(module, ConvModule) and module.with_activation \
                and module.order == ('conv', 'norm', 'act'):
            _overwrite(module)


def _overwrite(block: ConvModule) -> None:
    """Let what comes after a convolution overwrite its output."""
    norm = block.norm if block.with_norm else None
    if hasattr(block.activate, 'inplace'):
        block.activate.inplace = True
    if type(norm) is nn.GroupNorm and norm.num_groups == 1 and norm.affine \
            and type(block.activate) is nn.ReLU:
        norm.__class__ = _OverwritingNormAndReLU
        block.activate = nn.Identity()


class _OverwritingNormAndReLU(nn.GroupNorm):
    """GroupNorm of one group, then ReLU, which overwrite their input.

    Maps at stride 2 are larger than a processor's cache. So they are read
    twice, a few rows at a time: for the moments, and to be normalised.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (N, C, H, W) and cut below 0, without gradients."""
        if not x.is_contiguous(memory_format=torch.channels_last):
            return super().forward(x).relu_()
        for image in x.permute(0, 2, 3, 1):
            rows = max(1, CACHED_BYTES // image[0].nbytes)
            parts = image.flatten(1).split(rows)
            sums = [part.sum(1) for part in parts]
            norms = [torch.linalg.vector_norm(part, dim=1) for part in parts]
            mean = torch.cat(sums).double().sum() / image.numel()
            square = torch.cat(norms).double().square().sum() / image.numel()
            variance = square - mean.square()
            if variance < 1e-3 * mean.square():  # lost in rounding
                plain = super().forward(image.permute(2, 0, 1)[None]).relu_()
                image.copy_(plain[0].permute(1, 2, 0))
                continue
            scale = self.weight * (variance + self.eps).rsqrt()
            shift = (self.bias - mean * scale).to(x.dtype)
            scale = scale.to(x.dtype)
            for part in parts:
                part = part.view(-1, self.num_channels)
                part.mul_(scale).add_(shift).relu_()
        return x


class _PaddedWhileConvolving(nn.Conv2d):
    """TensorFlow's 'same' convolution of stride 2, as timm's ``Conv2dSame``.

    A map of even sides is padded by one pixel more at the end than at the
    beginning. A kernel whose first row and column are zeros does the same with
    equal padding, so that the map is not copied.
    """

    def forward(self, x: Tensor) -> Tensor:
        """From (N, C, H, W) to half of height and width, rounded up."""
        k, is_odd = self.kernel_size[0], x.shape[-1] % 2 or x.shape[-2] % 2
        if (self.kernel_size, self.stride,
                self.dilation) != ((k, k), (2, 2),
                                   (1, 1)) or k % 2 == 0 or is_odd:
            return sys.modules['timm.layers'].Conv2dSame.forward(self, x)
        weight = F.pad(self.weight, (1, 0, 1, 0))
        weight = weight.contiguous(memory_format=torch.channels_last)
        return F.conv2d(x, weight, self.bias, self.stride, k // 2,
                        self.dilation, self.groups)


class _Tracer(fx.Tracer):
    """Follows values between modules; does not look into the modules."""

    def is_leaf_module(self, module: nn.Module, name: str) -> bool:
        """Whether a module is one step: all that has weights of its own."""
        return not any(module.children()) or isinstance(
            module, (nn.Conv2d, _BatchNorm))


@torch.no_grad()
def fold_batch_norm(network: nn.Module) -> None:
    """Fold BatchNorm into convolutions whose output goes nowhere else, of a
    network in evaluation mode, in place.

    What the network does is read from a trace of it; where a part cannot be
    traced, the parts within it are.
    """
    if not any(isinstance(m, _BatchNorm) for m in network.modules()):
        return
    try:
        nodes = _Tracer().trace(network).nodes
    except Exception:  # control flow that depends on values, of any kind
        for child in network.children():
            fold_batch_norm(child)
        return
    modules = dict(network.named_modules())
    calls = [node for node in nodes if node.op == 'call_module']
    used = Counter(node.target for node in calls)
    for node in calls:
        norm, before = modules[node.target], node.args[0]
        is_fixed = isinstance(norm, _BatchNorm) and not norm.training \
            and norm.track_running_stats
        if not is_fixed or before not in calls or len(before.users) > 1:
            continue
        conv = modules[before.target]
        if not isinstance(conv, nn.Conv2d) or (used[node.target],
                                               used[before.target]) != (1, 1):
            continue
        conv.weight, conv.bias = fuse_conv_bn_weights(conv.weight, conv.bias,
                                                      norm.running_mean,
                                                      norm.running_var,
                                                      norm.eps, norm.weight,
                                                      norm.bias)
        parent, _, name = node.target.rpartition('.')
        # timm's BatchNorm has an activation in it
        setattr(modules[parent], name, getattr(norm, 'act', nn.Identity()))
