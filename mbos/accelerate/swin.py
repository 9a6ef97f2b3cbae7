"""Swin's blocks without the branches that stochastic depth drops."""
from collections.abc import Callable

import torch
from mmcv.cnn.bricks.drop import DropPath
from mmseg.models.backbones.swin import SwinBlock
from torch import Tensor, nn


class SkippingSwinBlock(SwinBlock):
    """A block that does not compute branches that stochastic depth drops."""

    def forward(self, x: Tensor, hw_shape: tuple[int, int]) -> Tensor:
        """Map tokens of a map, (N, H * W, C), to the same shape."""
        paths = self.attn.drop, self.ffn.dropout_layer
        if not self._can_skip(len(x), paths):
            return super().forward(x, hw_shape)
        x = _branch(x, paths[0], (self.norm1, self.attn),
                    lambda: self.attn(self.norm1(x), hw_shape))
        zero = x.new_zeros(())
        return _branch(x, paths[1], (self.norm2, self.ffn),
                       lambda: self.ffn(self.norm2(x), identity=zero))

    def _can_skip(self, images: int, paths: tuple[nn.Module, ...]) -> bool:
        """Whether a pass draws no random numbers but for one image's paths."""
        return (self.training and images == 1 and not self.with_cp
                and all(isinstance(path, DropPath) for path in paths)
                and not any(part.p for part in self.modules()
                            if isinstance(part, nn.Dropout)))


def _branch(x: Tensor, path: DropPath, parts: tuple[nn.Module, ...],
            compute: Callable[[], Tensor]) -> Tensor:
    """Add a branch, or nothing, as the only image's path is drawn."""
    scale = path(x.new_ones(1, 1, 1)).item()
    if not scale:
        # zero gradients: with none, the optimizer would skip the weights
        weights = [p for part in parts for p in part.parameters()]
        return x + sum(weight.flatten()[:0].sum() for weight in weights)
    path.training = False  # it is drawn already
    try:
        return torch.add(x, compute(), alpha=scale)
    finally:
        path.training = True
