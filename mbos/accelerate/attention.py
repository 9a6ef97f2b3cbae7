"""Window attention within a CPU's caches.

The scores of all windows of a map are far larger than what they are computed
from. Here a few windows are worked on at a time, so that their scores stay in
the cache, and the backward pass computes them again rather than keeping them.
torch's fused attention does the same, but on CPU it takes no bias that needs a
gradient; where nothing is differentiated it is used.
"""
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from mmseg.models.backbones.swin import WindowMSA
from torch import Tensor
from torch.autograd.function import once_differentiable

from mbos.models.cross_task_attention import CrossTaskBlock, position_bias

CACHED_SCORES = 2**20
"""int: How many scores are worked on at a time: 4 MB in float32."""


class CachedWindowMSA(WindowMSA):
    """mmseg's attention within the windows of a Swin transformer."""

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Attend within windows.

        Args:
            x (Tensor): Tokens of the windows of B maps, (B * windows, L, C).
            mask (Tensor, optional): Added to the scores of each window of a
                map, (windows, L, L). Default: None.

        Returns:
            Tensor: The same shape as ``x``.
        """
        if not self._is_standard:
            return super().forward(x, mask)
        parts = self.qkv(x).unflatten(-1, (3, self.num_heads, -1))
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        out = cached_attention(query, key, value, position_bias(self), mask)
        return self.proj_drop(self.proj(out.transpose(1, 2).flatten(2)))

    @property
    def _is_standard(self) -> bool:
        """Whether scores are scaled as usual and none of them is dropped."""
        width = self.embed_dims // self.num_heads
        drops = self.training and self.attn_drop.p > 0
        return self.scale == width**-0.5 and not drops


class CachedCrossTaskBlock(CrossTaskBlock):
    """Cross-task attention."""

    def attend(self, query: Tensor, key: Tensor, value: Tensor,
               bias: Tensor) -> Tensor:
        """Attend within windows; see :func:`cached_attention`."""
        return cached_attention(query, key, value, bias)


def cached_attention(query: Tensor,
                     key: Tensor,
                     value: Tensor,
                     bias: Tensor,
                     mask: Tensor | None = None) -> Tensor:
    """Scaled-dot-product attention in windows, with a learnt bias.

    Args:
        query (Tensor): Shape (B * windows, heads, L, d), as keys, values and
            the result.
        bias (Tensor): Shape (heads, L, L).
        mask (Tensor, optional): Added to the scores of each window on its
            own, without a gradient, (windows, L, L). Default: None.
    """
    if torch.is_grad_enabled():
        return _CachedAttention.apply(query, key, value, bias, mask)
    added = bias[None]
    if mask is not None:
        images = len(query) // len(mask)
        added = (added + mask[:, None]).repeat(images, 1, 1, 1)
    return F.scaled_dot_product_attention(
        query, key, value, attn_mask=added.to(query.dtype))


class _CachedAttention(torch.autograd.Function):
    """Attention by a few windows at a time, forwards and backwards."""

    @staticmethod
    def forward(ctx, query, key, value, bias, mask):
        ctx.save_for_backward(query, key, value, bias, mask)
        out = torch.empty_like(value)
        for chunk, windows in _chunks(query, mask):
            q, k, v = (x[chunk].flatten(0, 1) for x in (query, key, value))
            prob = _probabilities(q, k, bias, mask, windows)
            _multiply(prob, v, out[chunk])
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        """Probabilities are computed again, as none are kept."""
        query, key, value, bias, mask = ctx.saved_tensors
        grads = [torch.empty_like(x) for x in (query, key, value)]
        grad_bias = torch.zeros_like(bias)
        scale = query.shape[-1]**-0.5
        for chunk, windows in _chunks(query, mask):
            q, k, v, g = (
                x[chunk].flatten(0, 1) for x in (query, key, value, grad))
            grad_q, grad_k, grad_v = (x[chunk] for x in grads)
            prob = _probabilities(q, k, bias, mask, windows)
            _multiply(prob.transpose(1, 2), g, grad_v)
            scores = torch.ops.aten._softmax_backward_data(
                torch.bmm(g, v.transpose(1, 2)).to(bias.dtype),
                prob.to(bias.dtype), -1, bias.dtype)
            grad_bias += scores.unflatten(0, (-1, len(bias))).sum(0)
            scores = scores.to(q.dtype)
            _multiply(scores, k, grad_q, scale)
            _multiply(scores.transpose(1, 2), q, grad_k, scale)
        return (*grads, grad_bias, None)


def _chunks(query: Tensor,
            mask: Tensor | None) -> Iterator[tuple[slice, slice]]:
    """Windows to work on together, and which of the mask's they are."""
    total, heads, length, _ = query.shape
    per_image = total if mask is None else len(mask)
    limit = max(1, CACHED_SCORES // (heads * length**2))
    for image in range(0, total, per_image):
        for start in range(0, per_image, limit):
            stop = min(start + limit, per_image)
            yield slice(image + start, image + stop), slice(start, stop)


def _multiply(left: Tensor,
              right: Tensor,
              out: Tensor,
              scale: float = 1) -> None:
    """Put ``scale * left @ right`` into (windows, heads, L, d), strided."""
    torch.mul(torch.bmm(left, right).view_as(out), scale, out=out)


def _probabilities(query: Tensor, key: Tensor, bias: Tensor,
                   mask: Tensor | None, windows: slice) -> Tensor:
    """Attention weights, (windows * heads, L, L), in the query's precision."""
    scale = query.shape[-1]**-0.5
    scores = torch.bmm(query * scale, key.transpose(1, 2)).to(bias.dtype)
    by_head = scores.unflatten(0, (-1, len(bias)))
    by_head += bias
    if mask is not None:
        by_head += mask[windows, None]
    # in place; a torch.exp of the mask's -100 would take ten times as long
    return torch.softmax(scores, -1, out=scores).to(query.dtype)
