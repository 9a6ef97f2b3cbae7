"""Weights of timm models under the names of their feature maps' modules.

timm's classification models, their ``features_only`` variants and the package
EfficientNet-PyTorch name the same tensors differently.
"""
import re
from collections.abc import Mapping

from torch import Tensor

_STEM_AND_HEAD = dict(
    _conv_stem='conv_stem',
    _bn0='bn1',
    _conv_head='conv_head',
    _bn1='bn2',
    _fc='classifier')
# Within a block that widens its input first, and within one that does not.
_WIDENING = dict(
    _expand_conv='conv_pw',
    _bn0='bn1',
    _depthwise_conv='conv_dw',
    _bn1='bn2',
    _project_conv='conv_pwl',
    _bn2='bn3')
_PLAIN = dict(
    _depthwise_conv='conv_dw', _bn1='bn1', _project_conv='conv_pw', _bn2='bn2')
_SQUEEZE = dict(_se_reduce='se.conv_reduce', _se_expand='se.conv_expand')


def match_timm_weights(state: Mapping[str, Tensor], own: Mapping[str, Tensor],
                       whole: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Name weights as the modules of a model's feature maps are named.

    Those that the maps do not need (the classifier, later stages) are left
    out; those that belong to no part of the model keep their names.

    Args:
        own (Mapping[str, Tensor]): State dict of the feature maps.
        whole (Mapping[str, Tensor]): State dict of the model.
    """
    if any(key.startswith('_blocks.') for key in state):
        state = rename_efficientnet(state, whole)
    place = {_plain(key): key for key in own}
    unused = {_plain(key) for key in whole} - set(place)
    return {
        place.get(_plain(key), key): value
        for key, value in state.items() if _plain(key) not in unused
    }


def _plain(key: str) -> str:
    """A name without what ``features_only`` changes in it.

    It wraps the model ('body.', 'model.') or makes 'stages.0' 'stages_0'.
    """
    return re.sub(r'^(body|model)\.', '', key).replace('_', '.')


def rename_efficientnet(state: Mapping[str, Tensor],
                        whole: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename weights of EfficientNet-PyTorch as timm names them.

    Args:
        state (Mapping[str, Tensor]): With names such as
            '_blocks.3._expand_conv.weight': blocks are numbered through.
        whole (Mapping[str, Tensor]): State dict of timm's model, whose blocks
            are numbered by stage.
    """
    blocks = list(
        dict.fromkeys(m[1] for m in (re.match(r'(blocks\.\d+\.\d+)\.', key)
                                     for key in whole) if m))
    widening = {
        key.split('.')[1]
        for key in state if re.match(r'_blocks\.\d+\._expand_conv\.', key)
    }
    renamed = {}
    for key, value in state.items():
        inside = re.match(r'_blocks\.(\d{1,6})\.(\w+)\.(\w+)$', key)
        if inside and int(inside[1]) < len(blocks):
            number, layer, kind = inside.groups()
            names = _WIDENING if number in widening else _PLAIN
            layer = {**names, **_SQUEEZE}.get(layer, layer)
            key = f'{blocks[int(number)]}.{layer}.{kind}'
        else:
            layer, _, kind = key.partition('.')
            key = f'{_STEM_AND_HEAD.get(layer, layer)}.{kind}'
        renamed[key] = value
    return renamed
