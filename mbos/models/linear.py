"""Linear layers that use a CPU better than torch's own.

torch gives float32 products of matrices to its BLAS library. oneDNN, which it
has for convolutions, is a tenth to two thirds faster at those of a network's
width.
"""
from typing import Optional

import torch
import torch.nn.functional as F
from mmcv.cnn.bricks.wrappers import Linear
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from mbos.accelerate.gradients import weight_gradient
from .window_attention import eager_on_cpu


class LeanLinear(nn.Linear):
    """A linear layer with the same weights and results."""

    def forward(self, x: Tensor) -> Tensor:
        """Map features, (..., C_in), to (..., C_out)."""
        if not is_lean(x, self.weight):
            return super().forward(x)
        return _Linear.apply(x, self.weight, self.bias, False)


def activated_linear(x: Tensor, layer: nn.Linear) -> Tensor:
    """``layer(gelu(x))``, keeping for the backward pass no more than ``x``.

    Args:
        x (Tensor): Shape (..., C_in), such that :func:`is_lean`.
        layer (nn.Linear): The layer.

    Returns:
        Tensor: Shape (..., C_out).
    """
    return _Linear.apply(x, layer.weight, layer.bias, True)


def is_lean(x: Tensor, weight: Tensor) -> bool:
    """Whether features are to be mapped by oneDNN: float32 on CPU."""
    return (_HAS_ONEDNN and x.dtype == weight.dtype == torch.float32
            and eager_on_cpu(x) and not torch.is_autocast_enabled('cpu'))


def lean_linears(module: nn.Module) -> nn.Module:
    """Replace the linear layers within a module, in place; weights stay.

    Args:
        module (nn.Module): Any.

    Returns:
        nn.Module: The same.
    """
    for parent in list(module.modules()):
        for name, child in parent.named_children():
            if type(child) in (nn.Linear, Linear):
                setattr(parent, name, _like(child))
    return module


def _like(layer: nn.Linear) -> LeanLinear:
    lean = LeanLinear(
        layer.in_features,
        layer.out_features,
        layer.bias is not None,
        device='meta')  # no weights to be drawn and thrown away
    lean.weight, lean.bias = layer.weight, layer.bias
    return lean


_HAS_ONEDNN = (
    torch.backends.mkldnn.is_available()
    and hasattr(torch.ops.mkldnn, '_linear_pointwise'))


def _product(x: Tensor, weight: Tensor, bias: Optional[Tensor]) -> Tensor:
    """``x @ weight.T + bias`` by oneDNN."""
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, 'none', [], '')


class _Linear(torch.autograd.Function):
    """A linear layer, of features or of their GELU."""

    @staticmethod
    def forward(ctx, x, weight, bias, gelu):
        """Map; the GELU is not kept."""
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(x, weight)
        # checkpointing gives back copies, whose gradients nobody reads
        ctx.parameter = weight
        ctx.gelu = gelu
        return _product(F.gelu(x) if gelu else x, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        """Gradients of the features, the weight and the bias."""
        if grad is None:
            return 4 * (None, )
        x, weight = ctx.saved_tensors
        wants_x, wants_weight, wants_bias, _ = ctx.needs_input_grad
        grad = grad.reshape(-1, grad.shape[-1])
        tokens = x.reshape(-1, x.shape[-1])
        grad_x = grad_weight = grad_bias = None
        if wants_weight:
            active = F.gelu(tokens) if ctx.gelu else tokens
            grad_weight = weight_gradient(ctx.parameter, grad, active)
            del active
        if wants_bias:
            grad_bias = grad.sum(0)
        if wants_x:
            grad_x = _product(grad, weight.t(), None)
            if ctx.gelu:
                grad_x = torch.ops.aten.gelu_backward(grad_x, tokens)
            grad_x = grad_x.view_as(x)
        return grad_x, grad_weight, grad_bias, None
