"""Whether the parts of a network go together, before it trains.

BatchNorm in training normalises with the statistics of the images that pass
together: with it, all images of a step have to, or results would depend on
``images_per_pass``, a setting of memory and speed.
"""
from collections.abc import Mapping

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


def check_network(model: nn.Module, images: int) -> None:
    """Refuse what would end or falsify the first iteration, a step of some
    images: heads that expect other maps than the backbone gives, and BatchNorm
    that does not go with ``train_cfg``.
    """
    images_per_pass(model.train_cfg, images, False, batch_norms(model.train()))
    channels = backbone_channels(model)
    for name, head in model.dense_heads.items():
        part = dict(decode='decode_head', aux='auxiliary_head')[name]
        _check_head(head.any_head, channels, part)


def batch_norms(model: nn.Module) -> list[str]:
    """Names of the layers that mix the images of a training pass."""
    return [
        name for name, module in model.named_modules()
        if isinstance(module, _BatchNorm) and module.training
    ]


def images_per_pass(train_cfg: Mapping | None, images: int, alone: bool,
                    norms: list[str]) -> int:
    """How many images of equal size pass the network together; ``alone`` is
    whether 'auto' is one image, where no norm mixes them.
    """
    train_cfg = train_cfg or {}
    setting = train_cfg.get('images_per_pass', 'auto')
    if setting == 'auto':
        limit = 1 if alone and not norms else images
    elif isinstance(setting, int) and setting > 0:
        limit = setting
    else:
        raise ValueError(f'train_cfg.images_per_pass is {setting!r}: give '
                         "'auto' or a number of images from 1 upwards.")
    low_memory = bool(train_cfg.get('low_memory'))
    if norms and (limit < images or low_memory):
        raise ValueError(
            f'train_cfg has images_per_pass={setting!r}, {low_memory=}, which '
            f'separates the {images} images of a step or computes them twice; '
            f'BatchNorm ({norms[0]}) mixes and counts them: set '
            "images_per_pass='auto' and low_memory=False, or take GroupNorm "
            "(norm_cfg=dict(type='GN', num_groups=1)) or keep the running "
            'statistics (backbone.norm_eval=True).')
    return limit


def backbone_channels(model: nn.Module) -> list[int]:
    """Channels of the maps that the heads of a network get."""
    if hasattr(model.backbone, 'channels') and not model.with_neck:
        return list(model.backbone.channels)
    training = model.training
    image = next(model.parameters()).new_zeros(1, 3, 64, 64)
    with torch.no_grad():
        maps = model.eval().extract_feat(image)
    model.train(training)
    return [x.shape[1] for x in maps]


def _check_head(head: nn.Module, channels: list[int], part: str) -> None:
    indices, wanted = (
        torch.tensor(x).flatten().tolist()
        for x in (head.in_index, head.in_channels))
    given = [channels[i] for i in indices if i < len(channels)]
    if head.input_transform == 'resize_concat':
        given = [sum(given)]
    if given != wanted or max(indices) >= len(channels):
        raise ValueError(
            f'model.{part}.head has in_index={indices} and in_channels='
            f'{wanted}, but the maps of the backbone have {channels} channels,'
            f' those {given}.')
