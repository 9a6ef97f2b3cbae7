"""Swin weights in any of three layouts, turned into mmseg's.

The same ImageNet weights are about in the layout of their authors ('official',
the file that the published configs name), of mmseg and of timm. They differ
in names, in where a patch merging layer is counted (timm: to the stage after
it) and in the order in which it concatenates the four pixels it merges (mmseg
unfolds).
"""
import logging
import re
from collections.abc import Mapping

import torch
from torch import Tensor

from mbos.faults import first_of
from mbos.io.files import save_whole

SWIN_TINY_URL = ('https://github.com/SwinTransformer/storage/releases/'
                 'download/v1.0.0/swin_tiny_patch4_window7_224.pth')
"""Where the authors publish the weights that the published configs name."""

_RENAMES = (
    (r'^layers\.', 'stages.'),
    (r'^patch_embed\.proj\.', 'patch_embed.projection.'),
    (r'\.attn\.(?!w_msa\.)', '.attn.w_msa.'),
    (r'\.mlp\.fc1\.', '.ffn.layers.0.0.'),
    (r'\.mlp\.fc2\.', '.ffn.layers.1.'),
)
# What a backbone does not take: classifier, the norm before it, and buffers
# that it computes itself.
_UNUSED = re.compile(
    r'^(head|norm)\.|(^|\.)(relative_position_index|attn_mask|'
    r'relative_coords_table)$')


def convert_swin(state: Mapping[str, Tensor],
                 source: str) -> dict[str, Tensor]:
    """Name Swin weights as mmseg's ``SwinTransformer`` does.

    What a backbone has no use for (classifier, last norm, index buffers) is
    dropped and listed in the log, as is the layout. ``source`` is what errors
    and the log call the weights.

    Raises:
        ValueError: If they are not a Swin transformer's.
    """
    layout = swin_layout(state, source)
    unused = [key for key in state if _UNUSED.search(key)]
    converted = dict(
        _converted(key, value, layout) for key, value in state.items()
        if key not in unused)
    logging.getLogger(__name__).info(
        '%s: Swin weights in the %s layout, %d tensors; not used by the '
        'backbone: %s', source, layout, len(converted), unused)
    return converted


def swin_layout(state: Mapping[str, Tensor], source: str) -> str:
    """The layout of a Swin transformer's weights, by their names: 'official',
    'mmseg' or 'timm'.
    """
    if any(re.match(r'stages\..*\.attn\.w_msa\.', key) for key in state):
        return 'mmseg'
    if not any(re.match(r'layers\..*\.attn\.qkv\.weight$', k) for k in state):
        raise ValueError(
            f'{source} holds no Swin transformer: its first keys are '
            f'{first_of(state)}. Expected names like '
            'layers.0.blocks.0.attn.qkv.weight (official, timm) or '
            'stages.0.blocks.0.attn.w_msa.qkv.weight (mmseg).')
    # timm merges at the start of a stage, so its first never merges. Old timm
    # wrote the official layout.
    merges = any(key.startswith('layers.0.downsample.') for key in state)
    single = not any(key.startswith('layers.1.') for key in state)
    return 'official' if merges or single else 'timm'


def _converted(key: str, value: Tensor, layout: str) -> tuple[str, Tensor]:
    if layout == 'mmseg':
        return key, value
    if layout == 'timm':
        key = re.sub(r'^layers\.(\d{1,2})\.downsample\.',
                     lambda m: f'layers.{int(m[1]) - 1}.downsample.', key)
    for pattern, name in _RENAMES:
        key = re.sub(pattern, name, key)
    # other shapes fit nowhere, which is reported then
    if '.downsample.' in key and value.dim() and value.shape[-1] % 4 == 0:
        value = _reorder_merging(value)
    return key, value


def _reorder_merging(value: Tensor) -> Tensor:
    """Bring a merging layer's inputs, (..., 4 * C), from concatenated order,
    the pixels (row, column) 00, 10, 01, 11 each with all its channels, to
    unfolded order, channel by channel through 00, 01, 10, 11.
    """
    pixels = value.unflatten(-1, (4, -1))[..., [0, 2, 1, 3], :]
    return pixels.transpose(-1, -2).flatten(-2).contiguous()


def save_swin_weights(state: Mapping[str, Tensor], path: str) -> None:
    """Write weights as mmcv loads them, whole or not at all."""
    save_whole(path, lambda f: torch.save(dict(state_dict=dict(state)), f))
