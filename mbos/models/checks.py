"""Whether the parts of a network go together, before it trains."""
import torch
from torch import nn

from .batch_statistics import batch_norms, check_low_memory, images_per_pass

_SIDE = 64


def check_network(model: nn.Module, images: int) -> None:
    """Complain about what would end or falsify the first iteration.

    Raises:
        ValueError: If heads expect other maps than the backbone gives, or if
            BatchNorm does not go with ``train_cfg``.
    """
    model.train()
    if model.low_memory:
        check_low_memory(model)
    images_per_pass(model.train_cfg, images, False, batch_norms(model))
    channels = backbone_channels(model)
    for name, head in model.dense_heads.items():
        part = dict(decode='decode_head', aux='auxiliary_head')[name]
        _check_head(head.any_head, channels, part)


def backbone_channels(model: nn.Module) -> list[int]:
    """Channels of the maps that the heads of a network get."""
    if hasattr(model.backbone, 'channels') and not model.with_neck:
        return list(model.backbone.channels)
    training = model.training
    model.eval()
    like = next(model.parameters())
    try:
        with torch.no_grad():
            maps = model.extract_feat(like.new_zeros(1, 3, _SIDE, _SIDE))
    finally:
        model.train(training)
    return [x.shape[1] for x in maps]


def _check_head(head: nn.Module, channels: list[int], part: str) -> None:
    """Compare the maps that a task's head reads with the backbone's."""
    index, wanted = head.in_index, head.in_channels
    indices = index if isinstance(index, (list, tuple)) else [index]
    outside = [i for i in indices if not -len(channels) <= i < len(channels)]
    if outside:
        raise ValueError(
            f'model.{part}.head.in_index names map {outside[0]}, but the '
            f'backbone gives {len(channels)} maps, of {channels} channels.')
    given = [channels[i] for i in indices]
    if head.input_transform == 'resize_concat':
        given = sum(given)
    elif not isinstance(wanted, (list, tuple)):
        given = given[0]
    if given != (list(wanted) if isinstance(wanted, tuple) else wanted):
        raise ValueError(
            f'model.{part}.head.in_channels is {wanted}, but the maps '
            f'{index} of the backbone have {given} channels: set in_channels '
            'to these.')
