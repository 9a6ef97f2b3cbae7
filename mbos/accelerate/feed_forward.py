"""A transformer's feed-forward that keeps its hidden layer once."""
import torch
import torch.nn.functional as F
from mmcv.cnn.bricks.transformer import FFN
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

CACHED_HIDDEN = 2**20
"""int: Values of the hidden layer in one piece, so that they stay in the
cache: 4 MB in float32."""


class ThriftyFFN(FFN):
    """mmcv's feed-forward, in pieces.

    The hidden layer is kept for the backward pass before its GELU only, which
    is computed again then.
    """

    def forward(self, x: Tensor, identity: Tensor | None = None) -> Tensor:
        """``identity + layers(x)`` of tokens (..., C); default: ``x + ...``"""
        if not self._is_plain or torch.is_autocast_enabled(x.device.type):
            return super().forward(x, identity)
        first, last = self.layers[0][0], self.layers[1]
        pieces = x.flatten(0, -2).split(
            max(1, CACHED_HIDDEN // self.feedforward_channels))
        out = torch.cat([
            _ActivatedLinear.apply(first(piece), last.weight, last.bias)
            for piece in pieces
        ]).view_as(x)
        out = self.dropout_layer(out)
        if not self.add_identity:
            return out
        return (x if identity is None else identity) + out

    @property
    def _is_plain(self) -> bool:
        """Whether the layers are linear, exact GELU, linear, no dropout."""
        exact = (
            type(self.activate) is nn.GELU
            and self.activate.approximate == 'none')
        return exact and len(self.layers) == 3 and not (
            self.training and (self.layers[0][2].p or self.layers[2].p))


class _ActivatedLinear(torch.autograd.Function):
    """``linear(gelu(x))``, which keeps only ``x`` for the backward pass."""

    @staticmethod
    def forward(ctx, x, weight, bias):
        ctx.save_for_backward(x, weight)
        return F.linear(F.gelu(x), weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        x, weight = ctx.saved_tensors
        grad_x = torch.ops.aten.gelu_backward(grad @ weight, x)
        return grad_x, grad.t() @ F.gelu(x), grad.sum(0)
