"""A transformer's feed-forward whose hidden layer fits into the cache."""
import torch
from mmcv.cnn.bricks.transformer import FFN
from torch import Tensor

CACHED_HIDDEN = 2**20
"""int: Values of the hidden layer in one piece, so that they stay in the
cache: 4 MB in float32."""


class CachedFFN(FFN):
    """mmcv's feed-forward; where nothing is differentiated, in pieces."""

    def forward(self, x: Tensor, identity: Tensor | None = None) -> Tensor:
        """``identity + layers(x)`` of tokens (..., C); default: ``x + ...``"""
        if torch.is_grad_enabled() or self.training:
            return super().forward(x, identity)
        tokens = max(1, CACHED_HIDDEN // self.feedforward_channels)
        pieces = x.flatten(0, -2).split(tokens)
        out = torch.cat([self.layers(piece) for piece in pieces]).view_as(x)
        if not self.add_identity:
            return out
        return (x if identity is None else identity) + out
