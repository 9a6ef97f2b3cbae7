"""Swin weights in any of three layouts, turned into mmseg's.

The same ImageNet weights are about in the layout of their authors ('official',
the file that the published configs name), of mmseg and of timm. They differ
in names, in where a patch merging layer is counted (timm: to the stage after
it) and in the order in which it concatenates the four pixels it merges (mmseg
unfolds).
"""
import logging
import os
import os.path as osp
import re
from collections import OrderedDict
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from mbos.io.files import save_whole
from mbos.io.weights_file import read_safetensors, read_weights_only

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

_BLOCK_KEYS = tuple(f'{layer}.{kind}'
                    for layer in ('norm1', 'attn.w_msa.qkv', 'attn.w_msa.proj',
                                  'norm2', 'ffn.layers.0.0', 'ffn.layers.1')
                    for kind in ('weight', 'bias')) + (
                        'attn.w_msa.relative_position_bias_table', )
_EMBED_KEYS = tuple(f'patch_embed.{layer}.{kind}'
                    for layer in ('projection', 'norm')
                    for kind in ('weight', 'bias'))
_MERGE_KEYS = ('norm.weight', 'norm.bias', 'reduction.weight')

Weights = str | os.PathLike[str] | Mapping[str, Tensor]


def require_pretrained(path: str | os.PathLike[str]) -> str:
    """Check that the file with the backbone's weights is there.

    Raises:
        FileNotFoundError: If it is missing; says how to get it.
    """
    path = os.fspath(path)
    if not osp.isfile(path):
        raise FileNotFoundError(
            f'Backbone weights not found: {path} (looked in {os.getcwd()}). '
            f'Download {SWIN_TINY_URL} to {path}, or run `python '
            f'tools/convert_swin_checkpoint.py --download {path}`, or convert '
            'weights that you have in the official, mmseg or timm layout with '
            f'`python tools/convert_swin_checkpoint.py IN {path}`. To train '
            'from scratch instead, set model.pretrained=None.')
    return path


def load_swin_weights(
        weights: Weights,
        logger: logging.Logger | None = None) -> 'OrderedDict[str, Tensor]':
    """Load Swin weights and name them as mmseg's ``SwinTransformer`` does.

    The layout (official, mmseg or timm) is recognised by itself. What a
    backbone has no use for (classifier, last norm, index buffers) is dropped
    and listed in the log.

    Args:
        logger (logging.Logger, optional): Where the layout and the dropped
            keys are reported. Default: that of this module.

    Raises:
        FileNotFoundError: If the file is missing.
        ValueError: If it cannot be read, is not a Swin transformer or lacks
            weights.
    """
    logger = logger or logging.getLogger(__name__)
    if isinstance(weights, Mapping):
        source, content = 'the given weights', weights
    else:
        source = require_pretrained(weights)
        content = _read(source)
    state = _unwrap(content, source)
    layout = swin_layout(state, source)
    converted, dropped = _rename(state, layout)
    missing = _missing_keys(converted)
    if missing:
        raise ValueError(
            f'{source} ({layout} layout) lacks {len(missing)} weights of a '
            f'Swin transformer: {_listing(missing)}. Get a complete file: '
            f'{SWIN_TINY_URL}')
    logger.info('%s: Swin weights in the %s layout, %d tensors', source,
                layout, len(converted))
    if dropped:
        logger.info('not used by the backbone: %s', ', '.join(dropped))
    return converted


def load_swin_into(backbone: nn.Module,
                   weights: Weights,
                   logger: logging.Logger | None = None) -> list[str]:
    """Fill a ``SwinTransformer`` of mmseg and make sure that all of it fits.

    Position bias tables of another window size are interpolated. The norms of
    the outputs, which no classification checkpoint has, keep the values that
    they have.

    Returns:
        list[str]: Names of the parameters that the weights did not hold.

    Raises:
        FileNotFoundError: If the file is missing.
        ValueError: If weights lack or have another shape than the backbone's.
    """
    state = load_swin_weights(weights, logger)
    own = backbone.state_dict()
    source = 'weights' if isinstance(weights, Mapping) else os.fspath(weights)
    for key, value in state.items():
        if key.endswith('relative_position_bias_table') and key in own:
            state[key] = _resize_bias_table(value, own[key].shape)
    wrong = [
        f'{key} {tuple(state[key].shape)}, needed {tuple(value.shape)}'
        for key, value in own.items()
        if key in state and state[key].shape != value.shape
    ]
    absent = [key for key in own if key not in state]
    wrong += [
        f'{key} is missing' for key in absent
        if not re.match(r'norm\d+\.', key) and not _UNUSED.search(key)
    ]
    wrong += [f'{key} has no place' for key in state if key not in own]
    if wrong:
        raise ValueError(
            f'{source} does not fit the backbone of the config: '
            f'{_listing(wrong)}. Use weights of the same Swin variant, or set '
            'model.pretrained=None to train from scratch.')
    backbone.load_state_dict(state, strict=False)
    return [key for key in absent if not _UNUSED.search(key)]


def save_swin_weights(state: Mapping[str, Tensor], path: str) -> None:
    """Write weights so that mmcv and this module load them.

    The file appears under its name only when it is whole.

    Args:
        path (str): File to write; its folder is made where it is missing.
    """
    content = dict(state_dict=OrderedDict(state))
    save_whole(path, lambda file: torch.save(content, file))


def swin_layout(state: Mapping[str, Tensor],
                source: str = 'the given weights') -> str:
    """Find the layout of a Swin transformer's weights by their names.

    Returns:
        str: 'official', 'mmseg' or 'timm'.

    Raises:
        ValueError: If they are not of a Swin transformer.
    """
    if any(
            key.startswith('stages.') and '.attn.w_msa.' in key
            for key in state):
        return 'mmseg'
    if any(
            key.startswith('layers.') and key.endswith('.attn.qkv.weight')
            for key in state):
        # timm merges at the start of a stage, so its first never merges. Old
        # timm wrote the official layout.
        merges = any(key.startswith('layers.0.downsample.') for key in state)
        single = not any(key.startswith('layers.1.') for key in state)
        return 'official' if merges or single else 'timm'
    raise ValueError(f'{source} holds no Swin transformer: its first keys are '
                     f'{_listing(list(state), 5)}. Expected names like '
                     'layers.0.blocks.0.attn.qkv.weight (official, timm) or '
                     'stages.0.blocks.0.attn.w_msa.qkv.weight (mmseg).')


def read_backbone_state(path: str) -> dict[str, Tensor]:
    """Read a file of weights, and of a whole segmentor its backbone's.

    Raises:
        ValueError: If it cannot be read, or holds no tensors.
    """
    state = _unwrap(_read(path), path)
    if not state:
        raise ValueError(f'{path} holds no tensors, expected the weights of a '
                         'backbone.')
    return state


def _read(path: str) -> Mapping:
    """Read a file without running code that it may contain."""
    try:
        if path.endswith('.safetensors'):
            return read_safetensors(path)[0]
        return read_weights_only(path)
    except ValueError as error:
        raise ValueError(f'{error} Expected is the file from {SWIN_TINY_URL} '
                         'or one of that kind, tensors only.') from error


def _unwrap(content: Mapping, source: str) -> dict[str, Tensor]:
    """Take the backbone's tensors out of what is wrapped around them."""
    for key in ('model', 'state_dict'):
        if isinstance(content, Mapping) and isinstance(
                content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping):
        raise ValueError(f'{source} holds a {type(content).__name__}, '
                         'expected a dict of tensors.')
    state = {
        re.sub(r'^module\.', '', str(key)): value
        for key, value in content.items() if isinstance(value, Tensor)
    }
    # A whole segmentor: only its backbone counts.
    inside = {
        key[len('backbone.'):]: value
        for key, value in state.items() if key.startswith('backbone.')
    }
    return inside or state


def _rename(state: Mapping[str, Tensor],
            layout: str) -> tuple['OrderedDict[str, Tensor]', list[str]]:
    """Return the weights under mmseg's names, and the names dropped."""
    converted, dropped = OrderedDict(), []
    for key, value in state.items():
        if _UNUSED.search(key):
            dropped.append(key)
            continue
        if layout != 'mmseg':
            if layout == 'timm':
                key = re.sub(r'^layers\.(\d{1,6})\.downsample\.',
                             lambda m: f'layers.{int(m[1]) - 1}.downsample.',
                             key)
            for pattern, name in _RENAMES:
                key = re.sub(pattern, name, key)
            # other shapes fit nowhere, which is reported then
            whole = value.dim() and value.shape[-1] % 4 == 0
            if '.downsample.' in key and whole:
                value = _reorder_merging(value)
        converted[key] = value
    return converted, dropped


def _reorder_merging(value: Tensor) -> Tensor:
    """Bring a merging layer's inputs from concatenated to unfolded order.

    Concatenated are the pixels (row, column) 00, 10, 01, 11, each with all its
    channels. Unfolding goes channel by channel through 00, 01, 10, 11.

    Args:
        value (Tensor): Weight of shape (out, 4 * C) or norm of shape (4 * C).
    """
    pixels = value.unflatten(-1, (4, -1))[..., [0, 2, 1, 3], :]
    return pixels.transpose(-1, -2).flatten(-2).contiguous()


def _missing_keys(state: Mapping[str, Tensor]) -> list[str]:
    """List what a Swin transformer of this many stages and blocks lacks."""
    blocks = [
        tuple(map(int, match.groups()))
        for match in (re.match(r'stages\.(\d{1,6})\.blocks\.(\d{1,6})\.', key)
                      for key in state) if match
    ]
    # a name may hold any number, but not more of them are there than names
    most = len(state)
    stages = 1 + min(max((s for s, _ in blocks), default=0), most)
    wanted = list(_EMBED_KEYS)
    for stage in range(stages):
        depth = 1 + min(
            max((b for s, b in blocks if s == stage), default=0), most)
        for block in range(depth):
            wanted += [
                f'stages.{stage}.blocks.{block}.{key}' for key in _BLOCK_KEYS
            ]
        if stage < stages - 1:
            wanted += [
                f'stages.{stage}.downsample.{key}' for key in _MERGE_KEYS
            ]
    return [key for key in wanted if key not in state]


def _resize_bias_table(table: Tensor, shape: Sequence[int]) -> Tensor:
    """Interpolate a position bias table to another window size.

    Args:
        table (Tensor): Shape ((2 * w - 1)**2, heads).
        shape (Sequence[int]): Shape to reach.

    Returns:
        Tensor: The table; as it is where the shapes or heads do not allow it.
    """
    if table.dim() != 2:
        return table
    old, new = round(table.shape[0]**0.5), round(shape[0]**0.5)
    square = old**2 == table.shape[0] and new**2 == shape[0]
    if old == new or not square or table.shape[1] != shape[1]:
        return table
    planes = table.t().reshape(1, -1, old, old)
    planes = nn.functional.interpolate(
        planes, size=(new, new), mode='bicubic', align_corners=False)
    return planes.reshape(-1, new * new).t().contiguous()


def _listing(names: Sequence[str], limit: int = 8) -> str:
    """Join names, the first few of many."""
    text = ', '.join(names[:limit])
    more = len(names) - limit
    return f'{text} and {more} more' if more > 0 else text
