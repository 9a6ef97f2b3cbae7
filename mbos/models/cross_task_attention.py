"""Cross-task attention, xTA (docs/method.md, section 2, step 3)."""
from collections.abc import Sequence
from functools import cache
from itertools import permutations

import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule
from mmcv.cnn.bricks.transformer import FFN
from mmcv.cnn.utils.weight_init import trunc_normal_
from mmcv.runner import BaseModule, ModuleDict
from torch import Tensor, nn

from .recomputation import maybe_recomputed


def partition_windows(x: Tensor, window: int) -> Tensor:
    """Cut maps (N, C, H, W) into windows (N * windows, window * window, C),
    zero-padded at the right and the bottom.
    """
    n, c, h, w = x.shape
    x = F.pad(x, (0, -w % window, 0, -h % window))
    x = x.unflatten(3, (-1, window)).unflatten(2, (-1, window))
    return x.permute(0, 2, 4, 3, 5, 1).reshape(-1, window * window, c)


def merge_windows(windows: Tensor, window: int, size) -> Tensor:
    """Undo :func:`partition_windows` for maps of a size (H, W), cropping the
    padding; the maps (N, C, H, W) are channels last in memory.
    """
    h, w = size
    # sizes may be tensors of a traced graph, where only this form rounds up
    rows, cols = ((length + window - 1) // window for length in size)
    c = windows.shape[-1]
    x = windows.view(-1, rows, cols, window, window, c).transpose(2, 3)
    x = x.reshape(-1, rows * window, cols * window, c)
    return x[:, :h, :w].permute(0, 3, 1, 2)


def relative_position_index(window: int) -> Tensor:
    """Swin's index of the bias table for each pair of window positions, shape
    (window ** 2, window ** 2), values below (2 * window - 1) ** 2.
    """
    axis = torch.arange(window)
    place = (axis[:, None] * (2 * window - 1) + axis).flatten()
    return place[:, None] + place.flip(0)


def position_bias(attention: nn.Module) -> Tensor:
    """The learnt bias of each pair of window positions, (heads, L, L); mmseg's
    ``WindowMSA`` has the same parts.
    """
    index = attention.relative_position_index
    bias = attention.relative_position_bias_table.index_select(
        0, index.flatten())
    return bias.view(*index.shape, -1).permute(2, 0, 1).contiguous()


class CrossTaskBlock(BaseModule):
    """Attention from one task's map to another's, then a feed-forward."""

    def __init__(self, channels: int, num_heads: int, window_size: int,
                 feedforward_ratio: int):
        super().__init__()
        if channels % num_heads:
            raise ValueError(f'{channels} channels cannot be shared by '
                             f'{num_heads} attention heads.')
        self.num_heads = num_heads
        self.window_size = window_size
        self.norm1 = nn.LayerNorm(channels)
        self.q = nn.Linear(channels, channels)
        self.kv = nn.Linear(channels, 2 * channels)
        self.proj = nn.Linear(channels, channels)
        self.relative_position_bias_table = nn.Parameter(
            torch.zeros((2 * window_size - 1)**2, num_heads))
        index = relative_position_index(window_size)
        self.register_buffer(
            'relative_position_index', index, persistent=False)
        self.norm2 = nn.LayerNorm(channels)
        self.ffn = FFN(
            channels, feedforward_ratio * channels, act_cfg=dict(type='GELU'))

    def init_weights(self):
        """Truncated normal for the attention; the feed-forward keeps its."""
        super().init_weights()
        for linear in (self.q, self.kv, self.proj):
            trunc_normal_(linear.weight, std=0.02)
            nn.init.zeros_(linear.bias)
        trunc_normal_(self.relative_position_bias_table, std=0.02)

    def _split_heads(self, x: Tensor) -> Tensor:
        # (windows, L, C) -> (windows, heads, L, C / heads)
        return x.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)

    def windows(self, x: Tensor) -> Tensor:
        """A map (N, C, H, W) in windows and normed: (windows, L, C)."""
        return self.norm1(partition_windows(x, self.window_size))

    def queries(self, windows: Tensor) -> Tensor:
        """Queries of :meth:`windows`: (windows, heads, L, C / heads)."""
        return self._split_heads(self.q(windows))

    def keys_values(self, windows: Tensor) -> list[Tensor]:
        """Keys and values of :meth:`windows`, each shaped as the queries."""
        return [*map(self._split_heads, self.kv(windows).chunk(2, dim=-1))]

    def attend(self, query: Tensor, key: Tensor, value: Tensor,
               bias: Tensor) -> Tensor:
        """Attend within windows: all of shape (windows, heads, L, C / heads),
        but for the bias, (heads, L, L).
        """
        return F.scaled_dot_product_attention(
            query, key, value, attn_mask=bias[None].to(query.dtype))

    def forward(self, x: Tensor, query: Tensor, key: Tensor, value: Tensor,
                bias: Tensor) -> Tensor:
        """Let the map ``x``, (N, C, H, W), attend to another task's keys and
        values; the result has its shape.
        """
        out = self.attend(query, key, value, bias)
        out = self.proj(out.transpose(1, 2).flatten(2))
        x = x + merge_windows(out, self.window_size, x.shape[-2:])
        x = x.permute(0, 2, 3, 1)  # channels last for norm and feed-forward
        return self.ffn(self.norm2(x), identity=x).permute(0, 3, 1, 2)


class CrossTaskAttention(BaseModule):
    """Lets each task's map ask the maps of all other tasks.

    Task *i* gets ``x_i + conv(concat_j block(x_i, x_j))`` over the other
    tasks *j* in canonical order. With a single task it is the identity.

    The blocks may work on smaller maps with fewer channels, which costs less:
    each is averaged over ``downscale`` x ``downscale`` pixels and mapped to
    ``width`` channels, and what ``conv`` gives is enlarged before it is added
    to ``x_i`` itself.

    One block serves all ordered pairs of tasks, unless ``share_block`` is
    False. ``window_size`` is in pixels of the maps that the blocks see, and
    ``feedforward_ratio`` hidden over outer width of their feed-forward. The
    defaults are as published.
    """

    def __init__(self,
                 task_names: Sequence[str],
                 channels: int,
                 num_heads: int = 4,
                 window_size: int = 16,
                 share_block: bool = True,
                 width: int | None = None,
                 downscale: int = 1,
                 feedforward_ratio: int = 4):
        super().__init__()
        self.recompute = False  # low-memory mode
        self.task_names = tuple(task_names)
        self.share_block = share_block
        self.downscale = downscale
        if len(self.task_names) == 1:
            return
        width = width or channels
        self.narrow = nn.Identity() if width == channels else ConvModule(
            channels, width, kernel_size=1, act_cfg=None)
        args = (width, num_heads, window_size, feedforward_ratio)
        if share_block:
            self.block = CrossTaskBlock(*args)
        else:
            self.blocks = ModuleDict({
                f'{i}_from_{j}': CrossTaskBlock(*args)
                for i, j in permutations(self.task_names, 2)
            })
        self.fuse = ConvModule(
            width * (len(self.task_names) - 1),
            channels,
            kernel_size=1,
            norm_cfg=dict(type='GN', num_groups=1))

    def forward(
            self,
            features: dict[str, Tensor],
            rows: dict[str, Tensor | None] | None = None) -> dict[str, Tensor]:
        """Refine the maps (N, C, H, W) of the tasks in ``rows``, of the images
        of these indices, or None for all. Default: all tasks on all images.
        """
        rows = dict.fromkeys(self.task_names) if rows is None else rows
        if len(self.task_names) == 1:
            return {t: select(features[t], i) for t, i in rows.items()}
        small = {t: self._shrink(x) for t, x in features.items()}

        def of_images(x: Tensor, task: str) -> Tensor:
            if rows[task] is None:
                return x
            by_image = x.unflatten(0, (len(small[task]), -1))
            return select(by_image, rows[task]).flatten(0, 1)

        # with a shared block, these serve several pairs of tasks
        @cache
        def windows(block, task):
            return block.windows(small[task])

        @cache
        def queries(block, task):
            return block.queries(of_images(windows(block, task), task))

        @cache
        def keys_values(block, task):
            return block.keys_values(windows(block, task))

        bias_of = cache(position_bias)
        refined = {}
        for task, images in rows.items():
            x, answers = select(small[task], images), []
            for other in (t for t in self.task_names if t != task):
                block = self.block if self.share_block else self.blocks[
                    f'{task}_from_{other}']
                query = queries(block, task)
                key, value = (
                    of_images(y, task) for y in keys_values(block, other))
                answers.append(
                    maybe_recomputed(self.recompute, block, x, query, key,
                                     value, bias_of(block)))
            whole = select(features[task], images)
            found = self.fuse(torch.cat(answers, dim=1))
            if self.downscale > 1:
                found = F.interpolate(found, whole.shape[-2:], mode='bilinear')
            refined[task] = whole + found
        return refined

    def _shrink(self, x: Tensor) -> Tensor:
        """A map as the blocks see it: (N, width, H', W')."""
        if self.downscale > 1:
            x = F.avg_pool2d(x, self.downscale, ceil_mode=True)
        return self.narrow(x)


def select(x: Tensor, index: Tensor | None) -> Tensor:
    """Rows of a tensor, or the tensor itself where the index is None."""
    return x if index is None else x.index_select(0, index)
