"""mmseg's Swin transformer, sparing what its padding costs on a CPU."""
from dataclasses import dataclass
from functools import lru_cache
from typing import List, Optional, Tuple

import torch
import torch.nn.functional as F
from mmcv.cnn.bricks.drop import DropPath
from mmseg.models.backbones.swin import (ShiftWindowMSA, SwinBlock,
                                         SwinTransformer)
from mmseg.models.builder import BACKBONES
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from .feed_forward import feed_forward
from .linear import lean_linears
from .recomputation import maybe_recomputed
from .window_attention import eager_on_cpu, window_attention


@BACKBONES.register_module()
class LeanSwinTransformer(SwinTransformer):
    """Swin with the same weights and results, in fewer operations on CPU.

    mmseg pads maps to whole windows before it computes queries, keys and
    values; at 256x256 pixels that triples the last stage. Here only real
    positions pass the linear layers.

    Args:
        **kwargs: As mmseg's ``SwinTransformer``.
    """

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.recompute = False  # low-memory mode
        for stage in self.stages:
            for block in stage.blocks:
                block.attn = WindowAttention(block.attn)
        lean_linears(self)

    def forward(self, x: Tensor) -> List[Tensor]:
        """Maps of the stages asked for.

        Args:
            x (Tensor): Images, (N, 3, H, W).

        Returns:
            list[Tensor]: (N, C_l, H_l, W_l) each; channels last in memory on
            CPU.
        """
        channels_last = eager_on_cpu(x)  # convolutions like it there
        x, size = self.patch_embed(x)
        if self.use_abs_pos_embed:
            x = x + self.absolute_pos_embed
        x = self.drop_after_pos(x)
        maps = []
        for i, stage in enumerate(self.stages):
            for block in stage.blocks:
                x = maybe_recomputed(self.recompute, _pass, block, x, size)
            if i in self.out_indices:
                out = getattr(self, f'norm{i}')(x)
                out = out.view(-1, *size, self.num_features[i])
                out = out.permute(0, 3, 1, 2)
                maps.append(out if channels_last else out.contiguous())
            if stage.downsample:
                x, size = stage.downsample(x, size)
        return maps


def _pass(block: SwinBlock, x: Tensor, size: Tuple[int, int]) -> Tensor:
    """A Swin block, sparing branches that stochastic depth drops anyway."""
    exact = eager_on_cpu(x) and not torch.is_autocast_enabled('cpu')
    if not (exact and _is_lean(block, len(x))):
        return block(x, size)
    attention, ffn = block.attn, block.ffn
    scale = _path_scale(attention.drop, x)
    if scale:
        branch = attention.attend(block.norm1(x), size)
        x = x + (branch if scale == 1 else scale * branch)
    else:
        x = _Dropped.apply(x, *block.norm1.parameters(),
                           *attention.parameters())
    scale = _path_scale(ffn.dropout_layer, x)
    if scale:
        return feed_forward(x, block.norm2, ffn, scale)
    return _Dropped.apply(x, *block.norm2.parameters(), *ffn.parameters())


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


def _is_lean(block: SwinBlock, images: int) -> bool:
    """Whether a pass draws no random numbers but for one image's paths."""
    paths = block.attn.drop, block.ffn.dropout_layer
    if block.with_cp or not block.attn.is_lean or not all(
            isinstance(path, (DropPath, nn.Identity)) for path in paths):
        return False
    if not block.training:
        return True
    alike = images == 1 or not any(_drops(path) for path in paths)
    return alike and not any(
        part.p for part in block.modules() if isinstance(part, nn.Dropout))


def _drops(path: nn.Module) -> bool:
    return path.training and bool(getattr(path, 'drop_prob', 0))


def _path_scale(path: nn.Module, x: Tensor) -> float:
    """What the only image's branch is multiplied by, drawn as mmcv does."""
    return path(x.new_ones(1, 1, 1)).item() if _drops(path) else 1.0


class WindowAttention(ShiftWindowMSA):
    """Attention within windows, shifted or not, without padded tokens.

    Args:
        attention (ShiftWindowMSA): Its weights and settings are taken over.
    """

    def __init__(self, attention: ShiftWindowMSA):
        # not ShiftWindowMSA's, which would draw weights to throw away
        super(ShiftWindowMSA, self).__init__()
        self.window_size = attention.window_size
        self.shift_size = attention.shift_size
        self.w_msa = attention.w_msa
        self.drop = attention.drop

    def forward(self, query: Tensor, hw_shape: Tuple[int, int]) -> Tensor:
        """Let tokens attend to those of their window.

        Args:
            query (Tensor): Tokens of a map, (N, H * W, C).
            hw_shape (tuple[int, int]): H and W.

        Returns:
            Tensor: Shape (N, H * W, C).
        """
        if not (eager_on_cpu(query) and self.is_lean):
            return super().forward(query, hw_shape)
        return self.drop(self.attend(query, hw_shape))

    @property
    def is_lean(self) -> bool:
        """Whether :meth:`attend` computes what mmseg's attention does."""
        msa = self.w_msa
        standard = msa.scale == (msa.embed_dims // msa.num_heads)**-0.5
        return (standard and msa.qkv.bias is not None
                and not (self.training and msa.attn_drop.p > 0))

    def attend(self, query: Tensor, hw_shape: Tuple[int, int]) -> Tensor:
        """:meth:`forward` on CPU, before stochastic depth."""
        msa = self.w_msa
        order = window_order(*hw_shape, self.window_size, self.shift_size,
                             msa.num_heads)
        parts = self._to_windows(msa.qkv(query), order)
        bias = msa.relative_position_bias_table.index_select(
            0, msa.relative_position_index.flatten())
        bias = bias.view(self.window_size**2, -1, msa.num_heads)
        out = window_attention(*parts,
                               bias.permute(2, 0, 1).contiguous(), order.mask)
        out = out.reshape(len(query), -1, out.shape[-1])
        out = _FromWindows.apply(out, order).view_as(query)
        return msa.proj_drop(msa.proj(out))

    def _to_windows(self, qkv: Tensor, order: 'WindowOrder'):
        """Queries, keys, values: (images * windows, heads, L, d) each."""
        heads, images = self.w_msa.num_heads, len(qkv)
        width = self.w_msa.embed_dims // heads
        # the linear layer turns a padded zero into its bias
        padding = self.w_msa.qkv.bias.to(qkv.dtype).view(-1, width)
        parts = _ToWindows.apply(qkv.view(images, -1, width), padding, order)
        parts = parts.view(images, 3, -1, heads, self.window_size**2, width)
        return (part.flatten(0, 1) for part in parts.unbind(1))


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
    mask: Optional[Tensor]


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


def _shift_mask(height, width, window, shift) -> Optional[Tensor]:
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
