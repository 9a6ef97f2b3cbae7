"""Linear layers by oneDNN instead of torch's BLAS library."""
import torch
from mmcv.cnn.bricks.wrappers import Linear
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

_HAS_ONEDNN = (
    torch.backends.mkldnn.is_available()
    and hasattr(torch.ops.mkldnn, '_linear_pointwise'))


def product(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """``x @ weight.T + bias`` by oneDNN, of float32 on CPU."""
    if not _HAS_ONEDNN or x.dtype != torch.float32:
        return nn.functional.linear(x, weight, bias)
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, 'none', [], '')


class OneDnnLinear(nn.Linear):
    """torch's linear layer."""

    def forward(self, x: Tensor) -> Tensor:
        """Map features, (..., C_in), to (..., C_out)."""
        if torch.is_autocast_enabled(x.device.type):
            return super().forward(x)
        return _Linear.apply(x, self.weight, self.bias)


class OneDnnMmcvLinear(OneDnnLinear, Linear):
    """mmcv's linear layer, which is torch's."""


class _Linear(torch.autograd.Function):

    @staticmethod
    def forward(ctx, x, weight, bias):
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(x, weight)
        return product(x, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        if grad is None:
            return 3 * (None, )
        x, weight = ctx.saved_tensors
        wants_x, wants_weight, wants_bias = ctx.needs_input_grad
        grad = grad.reshape(-1, grad.shape[-1])
        tokens = x.reshape(-1, x.shape[-1])
        grad_x = grad_weight = grad_bias = None
        if wants_weight:
            grad_weight = grad.t() @ tokens
        if wants_bias:
            grad_bias = grad.sum(0)
        if wants_x:
            grad_x = product(grad, weight.t(), None).view_as(x)
        return grad_x, grad_weight, grad_bias
