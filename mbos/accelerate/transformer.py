"""Transformers within a CPU's caches.

What is computed between two layers is far larger than what goes in and comes
out. Here a piece is worked on at a time, which stays in the cache, and scores
are computed again in the backward pass rather than kept.
"""
from functools import partial

import torch
import torch.nn.functional as F
from mmcv.cnn.bricks.transformer import FFN
from mmseg.models.backbones.swin import WindowMSA
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from mbos.models.cross_task_attention import CrossTaskBlock, position_bias

CACHED = 2**20
"""int: Scores, or hidden values, that are worked on at a time: 4 MB."""
_recomputed = partial(
    checkpoint, use_reentrant=False, preserve_rng_state=False)


class CachedWindowMSA(WindowMSA):
    """mmseg's attention within the windows of a Swin transformer."""

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Attend within the windows of B maps, (B * windows, L, C); the mask,
        (windows, L, L), is added to the scores of each map.
        """
        has_usual_scale = self.scale == (self.embed_dims //
                                         self.num_heads)**-0.5
        if not has_usual_scale or self.training and self.attn_drop.p > 0:
            return super().forward(x, mask)
        parts = self.qkv(x).unflatten(-1, (3, self.num_heads, -1))
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        out = cached_attention(query, key, value, position_bias(self), mask)
        return self.proj_drop(self.proj(out.transpose(1, 2).flatten(2)))


def cached_attention(query: Tensor,
                     key: Tensor,
                     value: Tensor,
                     bias: Tensor,
                     mask: Tensor | None = None) -> Tensor:
    """Scaled-dot-product attention in windows: queries, keys, values and
    result (B * windows, heads, L, d), with a learnt bias (heads, L, L) and a
    mask (windows, L, L) without a gradient, which are added to the scores.

    torch's fused attention does the same, but on CPU it takes no bias that
    needs a gradient.
    """
    if not torch.is_grad_enabled():
        added = bias[None]
        if mask is not None:
            images = len(query) // len(mask)
            added = (added + mask[:, None]).repeat(images, 1, 1, 1)
        return F.scaled_dot_product_attention(
            query, key, value, attn_mask=added.to(query.dtype))
    per_map = len(query) if mask is None else len(mask)
    some = max(1, CACHED // bias.numel())
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


class CachedCrossTaskBlock(CrossTaskBlock):
    """Cross-task attention, within windows."""
    attend = staticmethod(cached_attention)


class CachedFFN(FFN):
    """mmcv's feed-forward; where nothing is differentiated, in pieces."""

    def forward(self, x: Tensor, identity: Tensor | None = None) -> Tensor:
        """``identity + layers(x)`` of tokens (..., C); default: ``x + ...``"""
        if torch.is_grad_enabled() or self.training:
            return super().forward(x, identity)
        tokens = max(1, CACHED // self.feedforward_channels)
        pieces = x.flatten(0, -2).split(tokens)
        out = torch.cat([self.layers(piece) for piece in pieces]).view_as(x)
        if not self.add_identity:
            return out
        return (x if identity is None else identity) + out
