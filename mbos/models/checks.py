"""Whether the parts of a network go together, before it trains.

BatchNorm in training normalises with the statistics of the images that pass
together: with it, all images of a step have to, or results would depend on
``images_per_pass``, a setting of memory and speed.
"""
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

REMEDY = ("take GroupNorm (norm_cfg=dict(type='GN', num_groups=1)) or keep "
          'the running statistics (backbone.norm_eval=True)')


def check_network(model: nn.Module, images: int) -> None:
    """Refuse what would end or falsify the first iteration.

    Args:
        images (int): How many a step has.

    Raises:
        ValueError: If heads expect other maps than the backbone gives, or if
            BatchNorm does not go with ``train_cfg``.
    """
    norms = batch_norms(model.train())
    if model.low_memory and norms:
        # its running statistics would be updated twice
        raise ValueError(
            'train_cfg.low_memory=True computes activations twice, which '
            f'BatchNorm ({norms[0]}) does not bear: set low_memory=False, or '
            f'{REMEDY}.')
    images_per_pass(model.train_cfg, images, False, norms)
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
    """How many images of equal size pass the network together.

    Args:
        alone (bool): Whether 'auto' is one image, where no norm mixes them.

    Raises:
        ValueError: If the setting is neither 'auto' nor a positive number, or
            separates images that BatchNorm mixes.
    """
    setting = (train_cfg or {}).get('images_per_pass', 'auto')
    if setting == 'auto':
        return 1 if alone and not norms else images
    if not isinstance(setting, int) or setting < 1:
        raise ValueError(f'train_cfg.images_per_pass is {setting!r}: give '
                         "'auto' or a number of images from 1 upwards.")
    if norms and setting < images:
        raise ValueError(
            f'train_cfg.images_per_pass={setting} separates the {images} '
            f'images of a step, which BatchNorm ({norms[0]}) mixes: set '
            f"images_per_pass='auto', or {REMEDY}.")
    return setting


@contextmanager
def single_values_explained() -> Iterator[None]:
    """Say what to do where torch's BatchNorm refuses its input.

    Raises:
        ValueError: In place of torch's.
    """
    try:
        yield
    except ValueError as error:
        if 'SyncBatchNorm' in str(error):
            advice = ("SyncBN works on GPUs only: write norm_cfg=dict(type="
                      "'BN')")
        elif 'more than 1 value per channel' in str(error):
            # after global pooling, of a task that one image of a step has
            advice = ('set data.samples_per_gpu=2 or more with '
                      "train_cfg.images_per_pass='auto'")
        else:
            raise
        raise ValueError(f'{error}: {advice}, or {REMEDY}.') from error


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
    indices, wanted = head.in_index, head.in_channels
    try:
        given = [channels[i] for i in torch.tensor(indices).flatten().tolist()]
    except IndexError:
        raise ValueError(
            f'model.{part}.head.in_index is {indices}, but the backbone gives '
            f'{len(channels)} maps, of {channels} channels.') from None
    if head.input_transform == 'resize_concat':
        given = [sum(given)]
    if given != torch.tensor(wanted).flatten().tolist():
        raise ValueError(
            f'model.{part}.head.in_channels is {wanted}, but the maps '
            f'{indices} of the backbone have {given} channels: set '
            'in_channels to these.')
