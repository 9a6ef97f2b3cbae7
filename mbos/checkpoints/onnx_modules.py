"""Parts of the network, written so that an ONNX graph takes any image size.

While a graph is traced, sizes are tensors: arithmetic on them is recorded, but
turning one into a Python number freezes it. mmseg's Swin does that in a few
places, and ONNX knows no adaptive pooling. These modules compute the same with
the weights of the ones they stand for.
"""
import copy

import torch
import torch.nn.functional as F
from mmseg.models.backbones.swin import ShiftWindowMSA
from mmseg.models.utils.embed import AdaptivePadding, PatchMerging
from torch import Tensor, nn

from mbos.accelerate import restore
from mbos.models.cross_task_attention import merge_windows, partition_windows


def exportable(model: nn.Module) -> nn.Module:
    """Copy a network, with the parts that freeze sizes replaced.

    Args:
        model (nn.Module): The network; it is not changed.
    """
    model = restore(copy.deepcopy(model))
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            for kind, replace in _REPLACEMENTS.items():
                if type(child) is kind:
                    setattr(parent, name, replace(child))
    return model


class AnySizePadding(nn.Module):
    """Zero padding at the right and the bottom, up to a multiple.

    Args:
        padding (AdaptivePadding): What it stands for.

    Raises:
        ValueError: If its kernel is not its stride or it pads otherwise.
    """

    def __init__(self, padding: AdaptivePadding):
        super().__init__()
        if (padding.padding != 'corner'
                or padding.kernel_size != padding.stride
                or set(padding.dilation) != {1}):
            raise ValueError('Only corner padding to multiples of the stride '
                             'can be exported.')
        self.multiple = padding.stride

    def forward(self, x: Tensor) -> Tensor:
        """Pad maps of shape (N, C, H, W)."""
        height, width = self.multiple
        down = (height - x.shape[2] % height) % height
        right = (width - x.shape[3] % width) % width
        return F.pad(x, (0, right, 0, down))


class AnySizePooling(nn.Module):
    """Adaptive average pooling as products with two averaging matrices.

    Args:
        pooling (nn.AdaptiveAvgPool2d): What it stands for.
    """

    def __init__(self, pooling: nn.AdaptiveAvgPool2d):
        super().__init__()
        size = pooling.output_size
        self.size = size if isinstance(size, tuple) else (size, size)

    @staticmethod
    def matrix(bins: int, length: Tensor, like: Tensor) -> Tensor:
        """Weights of every position in every bin, shape (bins, length)."""
        position = torch.ones_like(like).cumsum(0) - 1
        number = torch.arange(bins, device=like.device)[:, None]
        first = number * length // bins
        last = ((number + 1) * length + bins - 1) // bins
        inside = (position >= first) & (position < last)
        return inside.to(like.dtype) / (last - first).to(like.dtype)

    def forward(self, x: Tensor) -> Tensor:
        """Pool maps of shape (N, C, H, W)."""
        down = self.matrix(self.size[0], x.shape[2], x[0, 0, :, 0])
        across = self.matrix(self.size[1], x.shape[3], x[0, 0, 0])
        return down @ x @ across.transpose(0, 1)


class AnySizeMerging(nn.Module):
    """Swin's patch merging by strided slices.

    Args:
        merging (PatchMerging): What it stands for; its weights are used.

    Raises:
        ValueError: If it merges other patches than 2x2.
    """

    def __init__(self, merging: PatchMerging):
        super().__init__()
        sampler = merging.sampler
        if (sampler.kernel_size, sampler.stride) != ((2, 2), (2, 2)):
            raise ValueError('Only merging of 2x2 patches can be exported.')
        self.pad = AnySizePadding(merging.adap_padding)
        self.norm = merging.norm
        self.reduction = merging.reduction

    def forward(self, x: Tensor, size: tuple):
        """Merge patches of shape (N, H * W, C); also gives the new size."""
        height, width = size
        batch, channels = x.shape[0], x.shape[2]
        x = x.transpose(1, 2).reshape(batch, channels, height, width)
        x = self.pad(x)
        corners = [x[:, :, i::2, j::2] for i in (0, 1) for j in (0, 1)]
        x = torch.stack(corners, dim=2)  # channels first, as nn.Unfold has it
        size = (x.shape[3], x.shape[4])
        x = x.flatten(1, 2).flatten(2).transpose(1, 2)
        if self.norm is not None:
            x = self.norm(x)
        return self.reduction(x), size


class AnySizeWindowAttention(nn.Module):
    """Swin's window attention, shifted or not.

    Args:
        attention (ShiftWindowMSA): What it stands for; its weights are used.
    """

    MASKED = -100.0

    def __init__(self, attention: ShiftWindowMSA):
        super().__init__()
        self.window = attention.window_size
        self.shift = attention.shift_size
        self.attend = attention.w_msa

    def forward(self, x: Tensor, size: tuple) -> Tensor:
        """Attend within windows of maps of shape (N, H * W, C)."""
        height, width = size
        x = x.transpose(1, 2).unflatten(2, size)
        x = F.pad(x, (0, -width % self.window, 0, -height % self.window))
        full, mask = x.shape[2:], None
        if self.shift:
            x = torch.roll(x, (-self.shift, -self.shift), (2, 3))
            mask = self._mask(x)
        windows = self.attend(partition_windows(x, self.window), mask)
        x = merge_windows(windows, self.window, full)
        if self.shift:
            x = torch.roll(x, (self.shift, self.shift), (2, 3))
        return x[:, :, :height, :width].flatten(2).transpose(1, 2)

    def _mask(self, x: Tensor) -> Tensor:
        """Keep apart what only the cyclic shift brought together.

        Args:
            x (Tensor): Padded maps, (N, C, H, W).

        Returns:
            Tensor: Shape (windows, window ** 2, window ** 2), 0 or -100.
        """
        regions = 3 * self._region(x[0, 0, :, :1]) + self._region(
            x[0, 0, :1].transpose(0, 1)).transpose(0, 1)
        regions = partition_windows(regions[None, None], self.window)
        differ = regions != regions.transpose(1, 2)
        return differ.to(x.dtype) * self.MASKED

    def _region(self, like: Tensor) -> Tensor:
        """Number the inner part, the last window and what wrapped around."""
        left = torch.ones_like(like).flip(0).cumsum(0).flip(0)  # to the end
        return (left <= self.window).to(like.dtype) + (left <= self.shift).to(
            like.dtype)


_REPLACEMENTS = {
    AdaptivePadding: AnySizePadding,
    nn.AdaptiveAvgPool2d: AnySizePooling,
    PatchMerging: AnySizeMerging,
    ShiftWindowMSA: AnySizeWindowAttention,
}
