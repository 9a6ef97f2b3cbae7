"""Window attention within a CPU's caches.

The scores of all windows of a map are far larger than what they are computed
from. Here a few windows are worked on at a time, so that their scores stay in
the cache, and the backward pass computes them again rather than keeping them.
torch's fused attention does the same, but on CPU it takes no bias that needs a
gradient; where nothing is differentiated it is used.
"""
from functools import partial

import torch
import torch.nn.functional as F
from mmseg.models.backbones.swin import WindowMSA
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from mbos.models.cross_task_attention import CrossTaskBlock, position_bias

CACHED_SCORES = 2**20
"""int: How many scores are worked on at a time: 4 MB in float32."""
_recomputed = partial(
    checkpoint, use_reentrant=False, preserve_rng_state=False)


class CachedWindowMSA(WindowMSA):
    """mmseg's attention within the windows of a Swin transformer."""

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Attend within the windows of B maps, (B * windows, L, C); the mask,
        (windows, L, L), is added to the scores of each map.
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
            own, without a gradient, (windows, L, L).
    """
    if not torch.is_grad_enabled():
        added = bias[None]
        if mask is not None:
            images = len(query) // len(mask)
            added = (added + mask[:, None]).repeat(images, 1, 1, 1)
        return F.scaled_dot_product_attention(
            query, key, value, attn_mask=added.to(query.dtype))
    per_map = len(query) if mask is None else len(mask)
    some = max(1, CACHED_SCORES // bias.numel())
    sizes = [min(some, per_map - i) for i in range(0, per_map, some)]
    masks = [None] * len(sizes) if mask is None else [*mask.split(sizes)]
    maps = len(query) // per_map
    parts = (x.split(sizes * maps) for x in (query, key, value))
    return torch.cat([
        _recomputed(_attend, *part, bias)
        for part in zip(*parts, masks * maps)
    ])


def _attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None,
            bias: Tensor) -> Tensor:
    scores = query * query.shape[-1]**-0.5 @ key.transpose(-2, -1)
    scores = scores.to(bias.dtype).add_(bias)
    if mask is not None:
        scores.add_(mask[:, None])
    return scores.softmax(-1).to(query.dtype) @ value
