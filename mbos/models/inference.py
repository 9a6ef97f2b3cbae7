"""From a network's inputs to probabilities: windows, views and their mean.

Logits of views, which are scaled or mirrored inputs, are resized to the
picture before the sigmoid, and probabilities are averaged (docs/method.md).
"""
from collections.abc import Mapping, Sequence

from mmseg.ops import resize
from torch import Tensor

MODES = ('whole', 'slide')
DEFAULT_WINDOW = 512
SMALLEST_WINDOW = 32  # a pixel of the smallest maps of a backbone
MOST_OVERLAPS = 8  # windows of which a pixel is part, along a side
FLIP_AXIS = dict(horizontal=-1, vertical=-2)


def complete_test_cfg(test_cfg: Mapping | None,
                      mode: str | None = None,
                      window: int | None = None,
                      stride: int | None = None) -> dict:
    """``test_cfg`` with all that its mode needs.

    The model's has ``mode``, and for a sliding window ``crop_size`` and
    ``stride``, (height, width) in pixels of the network's input. Default: the
    whole image; windows of 512 pixels, two thirds of a window apart.

    Raises:
        ValueError: If the mode is unknown or has no windows, or they would
            leave pixels out, or be so many that it takes for ever.
    """
    cfg = dict(test_cfg or {})
    cfg['mode'] = mode or cfg.get('mode', 'whole')
    if cfg['mode'] not in MODES:
        raise ValueError(f'test_cfg.mode is {cfg["mode"]!r}: use one of '
                         f'{", ".join(MODES)}.')
    if cfg['mode'] == 'whole':
        if window or stride:
            raise ValueError('A window and its stride are for sliding '
                             'windows: add --mode slide.')
        return cfg
    sides = _pair('crop_size', window or cfg.get('crop_size')
                  or DEFAULT_WINDOW)
    # the config's stride belongs to the config's window
    steps = _pair(
        'stride', stride or (None if window else cfg.get('stride'))
        or [max(1, side * 2 // 3) for side in sides])
    for step, side in zip(steps, sides):
        if side < SMALLEST_WINDOW or not side / MOST_OVERLAPS <= step <= side:
            raise ValueError(
                f'The window is {side} and the stride {step} pixels, expected '
                f'a window of {SMALLEST_WINDOW} or more and a stride from an '
                'eighth of it to all of it: otherwise pixels are left out, or '
                'windows are without number.')
    return dict(cfg, crop_size=sides, stride=steps)


def _pair(name: str, value: int | Sequence[int]) -> tuple[int, int]:
    pair = tuple(value) if isinstance(value, (list, tuple)) else (value, ) * 2
    if len(pair) != 2 or any(not isinstance(v, int) or v < 1 for v in pair):
        raise ValueError(f'test_cfg.{name} is {value!r}: expected pixels, one '
                         'number or (height, width).')
    return pair


def unique_views(images: Sequence, metas: Sequence) -> tuple[list, list]:
    """Views (..., 3, h, w) without repetitions: mmseg's ``MultiScaleFlipAug``
    repeats the image as it is for every direction of flips. Their meta
    information is a dict, or a list of one dict per image of a batch.
    """
    found = {}
    for image, meta in zip(images, metas):
        first = meta if isinstance(meta, dict) else meta[0]
        key = (tuple(image.shape), flip_direction(first))
        found.setdefault(key, (image, meta))
    return [v for v, _ in found.values()], [m for _, m in found.values()]


def flip_direction(meta: dict) -> str | None:
    """How a view is mirrored: 'horizontal', 'vertical' or None."""
    return meta['flip_direction'] if meta.get('flip') else None


def mirrored_back(logits: Tensor, meta: dict) -> Tensor:
    """Logits (..., h, w) of a view, as if it had not been mirrored."""
    direction = flip_direction(meta)
    return logits.flip(dims=(FLIP_AXIS[direction], )) if direction else logits


def mean_probabilities(views: Sequence[Tensor], size: tuple[int, int],
                       align_corners: bool) -> Tensor:
    """Mean over the views of an image, (C, H, W), of logits (C, h, w) each."""
    found = views[0].new_zeros((len(views[0]), *size))
    for index, total in enumerate(found):  # planes of photographs are large
        for view in views:
            total += resize(
                view[None, index:index + 1],
                size=size,
                mode='bilinear',
                align_corners=align_corners,
                warning=False)[0, 0].sigmoid_()
        total /= len(views)
    return found
