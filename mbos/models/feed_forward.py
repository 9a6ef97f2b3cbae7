"""A transformer's feed-forward that spares memory on a CPU."""
import torch
from mmcv.cnn.bricks.transformer import FFN
from torch import Tensor, nn

from .linear import activated_linear, is_lean

KEPT_HIDDEN = 2**22
"""int: Values of the hidden layer in one piece when training, 16 MB; the
allocator gives pieces of 32 MB or more back to the system."""

CACHED_HIDDEN = 2**20
"""int: The same where nothing is kept, so that they stay in the cache."""


def feed_forward(x: Tensor,
                 norm: nn.LayerNorm,
                 ffn: FFN,
                 scale: float = 1.0) -> Tensor:
    """``x + scale * layers(norm(x))``.

    On CPU in float32 the hidden layer is kept before its GELU only, and
    computed in pieces.

    Args:
        x (Tensor): Tokens, (..., C).
        norm (nn.LayerNorm): Over C.
        ffn (FFN): mmcv's, of which only ``layers`` are used.
        scale (float): What stochastic depth multiplies the branch by.

    Returns:
        Tensor: The same shape.
    """
    if not (is_lean(x, norm.weight) and _is_plain(ffn)):
        return torch.add(x, ffn.layers(norm(x)), alpha=scale)
    hidden = KEPT_HIDDEN if torch.is_grad_enabled() else CACHED_HIDDEN
    pieces = x.flatten(0, -2).split(max(1, hidden // ffn.feedforward_channels))
    first, last = ffn.layers[0][0], ffn.layers[1]
    out = [
        torch.add(
            piece, activated_linear(first(norm(piece)), last), alpha=scale)
        for piece in pieces
    ]
    return (out[0] if len(out) == 1 else torch.cat(out)).view_as(x)


def _is_plain(ffn: FFN) -> bool:
    """Whether the layers are linear, exact GELU, linear and no dropout."""
    act = ffn.activate
    return (len(ffn.layers) == 3 and type(act) is nn.GELU
            and act.approximate == 'none'
            and not (ffn.training and (ffn.layers[0][2].p or ffn.layers[2].p)))
