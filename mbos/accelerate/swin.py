"""Swin's blocks without what padding and stochastic depth make vain."""
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache

import torch
import torch.nn.functional as F
from mmcv.cnn.bricks.drop import DropPath
from mmseg.models.backbones.swin import ShiftWindowMSA, SwinBlock
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from .attention import (CachedWindowMSA, cached_attention, is_standard,
                        position_bias)


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
        return _Dropped.apply(x, *(p for m in parts for p in m.parameters()))
    with _undrawn(path):
        return torch.add(x, compute(), alpha=scale)


@contextmanager
def _undrawn(path: DropPath) -> Iterator[None]:
    path.training = False
    try:
        yield
    finally:
        path.training = True


class _Dropped(torch.autograd.Function):
    """The identity, giving the weights of a dropped branch zero gradients.

    With no gradient at all, the optimizer would pass over them: no weight
    decay, no momentum.
    """

    @staticmethod
    def forward(ctx, x, *weights):
        ctx.set_materialize_grads(False)
        ctx.like = [(weight.shape, weight.new_zeros(())) for weight in weights]
        return x.view_as(x)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        return (grad, *(zero.expand(shape) for shape, zero in ctx.like))


class PaddingFreeMSA(ShiftWindowMSA):
    """Attention within windows, shifted or not, without padded tokens.

    mmseg pads maps to whole windows before it computes queries, keys and
    values; at 256x256 pixels that triples the last stage. Here only real
    positions pass the linear layers.
    """

    def forward(self, query: Tensor, hw_shape: tuple[int, int]) -> Tensor:
        """Let tokens attend to those of their window.

        Args:
            query (Tensor): Tokens of a map, (N, H * W, C).
            hw_shape (tuple[int, int]): H and W.

        Returns:
            Tensor: Shape (N, H * W, C).
        """
        msa = self.w_msa
        if msa.qkv.bias is None or not is_standard(msa):
            return super().forward(query, hw_shape)
        order = window_order(*hw_shape, self.window_size, self.shift_size,
                             msa.num_heads)
        parts = self._to_windows(msa.qkv(query), order)
        attend = (
            cached_attention if type(msa) is CachedWindowMSA else _attention)
        out = attend(*parts, position_bias(msa), order.mask)
        out = out.reshape(len(query), -1, out.shape[-1])
        out = _FromWindows.apply(out, order).view_as(query)
        return self.drop(msa.proj_drop(msa.proj(out)))

    def _to_windows(self, qkv: Tensor, order: 'WindowOrder'):
        """Queries, keys, values: (images * windows, heads, L, d) each."""
        heads, images = self.w_msa.num_heads, len(qkv)
        width = self.w_msa.embed_dims // heads
        # the linear layer turns a padded zero into its bias
        padding = self.w_msa.qkv.bias.to(qkv.dtype).view(-1, width)
        parts = _ToWindows.apply(qkv.view(images, -1, width), padding, order)
        parts = parts.view(images, 3, -1, heads, self.window_size**2, width)
        return (part.flatten(0, 1) for part in parts.unbind(1))


def _attention(query, key, value, bias, mask):
    added = bias[None]
    if mask is not None:
        images = query.shape[0] // mask.shape[0]
        added = (added + mask[:, None]).repeat(images, 1, 1, 1)
    return F.scaled_dot_product_attention(
        query, key, value, attn_mask=added.to(query.dtype))


@dataclass(frozen=True, eq=False)
class WindowOrder:
    """Where every token goes when a map is cut into windows.

    The rows of queries, keys and values are numbered by (token, part, head);
    in windows by (part, window, head, token). Padding comes after the tokens.

    Attributes:
        to_windows (Tensor): By row in windows, the row.
        back (Tensor): By row, the row in windows.
        padded (Tensor): Rows in windows that are padding, by part and head.
        outputs (Tensor): By (token, head), the row of (window, head, token).
        inputs (Tensor): The reverse; padding is numbered after all rows.
        mask (Tensor): For shifted windows (windows, L, L), else None.
    """

    to_windows: Tensor
    back: Tensor
    padded: Tensor
    outputs: Tensor
    inputs: Tensor
    mask: Tensor | None


@lru_cache(maxsize=64)
def window_order(height: int, width: int, window: int, shift: int,
                 heads: int) -> WindowOrder:
    """The order of tokens in windows.

    Args:
        height (int): Rows of the map.
        width (int): Its columns.
        window (int): Side of the windows.
        shift (int): By how much they are shifted.
        heads (int): Attention heads.

    Returns:
        WindowOrder: On CPU.
    """
    with torch.inference_mode(False):
        tokens = height * width
        plane = torch.arange(tokens).view(height, width)
        pad = (0, -width % window, 0, -height % window)
        token = _cut(F.pad(plane, pad, value=tokens), window, shift)
        count, length = token.shape
        is_padding = token == tokens
        position = torch.zeros(tokens + 1, dtype=torch.long)
        position[token.flatten()] = torch.arange(count * length)
        slot = position[:tokens].view(-1, 1, 1)
        part = torch.arange(3).view(-1, 1, 1, 1)
        head = torch.arange(heads)

        def in_windows(slot, part, head):
            which = (part * count + slot // length) * heads + head
            return which * length + slot % length

        head_rows = head.view(1, -1, 1)
        pads = is_padding.flatten().nonzero().view(1, 1, -1)
        outputs = in_windows(position[:tokens].view(-1, 1), 0, head)
        inputs = (token[:, None] * heads + head_rows).clamp(max=tokens * heads)
        return WindowOrder(
            to_windows=(token[None, :, None] * 3 * heads + part * heads +
                        head_rows).flatten(),
            back=in_windows(slot, part.view(1, -1, 1), head).flatten(),
            padded=in_windows(pads, part.view(-1, 1, 1),
                              head.view(1, -1, 1)).flatten(),
            outputs=outputs.flatten(),
            inputs=inputs.flatten(),
            mask=_shift_mask(height, width, window, shift))


def _cut(plane: Tensor, window: int, shift: int) -> Tensor:
    """Shift a padded plane and cut it: (windows, window ** 2)."""
    plane = plane.roll((-shift, -shift), (0, 1))
    rows, columns = (side // window for side in plane.shape)
    plane = plane.view(rows, window, columns, window).transpose(1, 2)
    return plane.reshape(-1, window**2)


def _shift_mask(height, width, window, shift) -> Tensor | None:
    """-100 between positions that only the cyclic shift brought together."""
    if not shift:
        return None

    def regions(side):
        side += -side % window
        region = torch.zeros(side, dtype=torch.long)
        region[-window:-shift] = 1
        region[-shift:] = 2
        return region

    region = 3 * regions(height)[:, None] + regions(width)
    region = _cut(region, window, 0)
    return torch.where(region[:, None] == region[:, :, None], 0.0, -100.0)


class _ToWindows(torch.autograd.Function):
    """Rows (images, rows, d) and rows of padding into windows."""

    @staticmethod
    def forward(ctx, rows, padding, order):
        ctx.set_materialize_grads(False)
        ctx.order, ctx.padding = order, len(padding)
        if len(order.padded):
            rows = torch.cat([rows, padding.expand(len(rows), -1, -1)], 1)
        return rows.index_select(1, order.to_windows)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        if grad is None:
            return None, None, None
        padded = grad.index_select(1, ctx.order.padded)
        padded = padded.view(len(grad), ctx.padding, -1, grad.shape[-1])
        return grad.index_select(1, ctx.order.back), padded.sum((0, 2)), None


class _FromWindows(torch.autograd.Function):
    """Rows of windows (images, rows, d) back into the order of the tokens."""

    @staticmethod
    def forward(ctx, rows, order):
        ctx.set_materialize_grads(False)
        ctx.order = order
        return rows.index_select(1, order.outputs)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        if grad is None:
            return None, None
        if len(ctx.order.padded):
            grad = F.pad(grad, (0, 0, 0, 1))  # nobody reads padded outputs
        return grad.index_select(1, ctx.order.inputs), None
