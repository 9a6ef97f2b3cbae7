"""A transformer's feed-forward that keeps its hidden layer once."""
import torch
import torch.nn.functional as F
from mmcv.cnn.bricks.transformer import FFN
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

KEPT_HIDDEN = 2**22
"""int: Values of the hidden layer in one piece when training, 16 MB; the
allocator gives pieces of 32 MB or more back to the system."""

CACHED_HIDDEN = 2**20
"""int: The same where nothing is kept, so that they stay in the cache."""


class ThriftyFFN(FFN):
    """mmcv's feed-forward, in pieces.

    The hidden layer is kept for the backward pass before its GELU only, which
    is computed again then.
    """

    def forward(self, x: Tensor, identity: Tensor | None = None) -> Tensor:
        """``identity + layers(x)``.

        Args:
            x (Tensor): Tokens, (..., C).
            identity (Tensor, optional): Of the same shape. Default: ``x``.

        Returns:
            Tensor: The same shape.
        """
        if not self._is_plain or torch.is_autocast_enabled(x.device.type):
            return super().forward(x, identity)
        hidden = KEPT_HIDDEN if torch.is_grad_enabled() else CACHED_HIDDEN
        pieces = x.flatten(0, -2).split(
            max(1, hidden // self.feedforward_channels))
        first, last = self.layers[0][0], self.layers[1]
        out = [_activated_linear(first(piece), last) for piece in pieces]
        out = (out[0] if len(out) == 1 else torch.cat(out)).view_as(x)
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


def _activated_linear(x: Tensor, layer: nn.Linear) -> Tensor:
    """``layer(gelu(x))``, keeping for the backward pass no more than ``x``."""
    return _ActivatedLinear.apply(x, layer.weight, layer.bias)


class _ActivatedLinear(torch.autograd.Function):
    """See :func:`_activated_linear`; the backward pass computes GELU again."""

    @staticmethod
    def forward(ctx, x, weight, bias):
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(x, weight)
        return F.linear(F.gelu(x), weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        """Gradients of input, weight and bias, where they are wanted."""
        if grad is None:
            return 3 * (None, )
        x, weight = ctx.saved_tensors
        wants_x, wants_weight, wants_bias = ctx.needs_input_grad
        grad_x = grad_weight = grad_bias = None
        if wants_weight:
            grad_weight = grad.t() @ F.gelu(x)
        if wants_bias:
            grad_bias = grad.sum(0)
        if wants_x:
            grad_x = torch.ops.aten.gelu_backward(grad @ weight, x)
        return grad_x, grad_weight, grad_bias
