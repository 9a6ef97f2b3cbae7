"""The network's inputs of a photograph, and running the network on them."""
from dataclasses import dataclass
from typing import Dict, List, Sequence

import numpy as np
import torch
from mmcv import ConfigDict
from mmseg.datasets.pipelines import Compose
from torch import Tensor, nn

FLIP_AXIS = dict(horizontal=2, vertical=1)


@dataclass(frozen=True)
class Views:
    """What the test pipeline makes of one photograph.

    Attributes:
        images (list[Tensor]): An input (3, h, w) for each scale and flip.
        metas (list[dict]): mmseg's meta information of each.
    """

    images: List[Tensor]
    metas: List[dict]


def make_views(square: np.ndarray, steps: Sequence[dict]) -> Views:
    """Run the test pipeline without loading.

    Args:
        square (ndarray): Prepared photograph, RGB, (S, S, 3), uint8.
        steps (Sequence[dict]): Of ``PredictionSettings.steps``.

    Returns:
        Views: The inputs.
    """
    image = np.ascontiguousarray(square[..., ::-1])  # mmseg's are BGR
    results = Compose(steps)(
        dict(
            img=image,
            img_fields=['img'],
            img_shape=image.shape,
            ori_shape=image.shape,
            pad_shape=image.shape,
            scale_factor=1.0,
            filename=None,
            ori_filename=None,
            dataset=''))
    images, metas = results['img'], results['img_metas']
    if not isinstance(images, list):
        images, metas = [images], [metas]
    return Views([getattr(i, 'data', i) if not isinstance(i, Tensor) else i
                  for i in images], [m.data for m in metas])  # yapf: disable


@torch.no_grad()
def run_views(model: nn.Module, views: Sequence[Views],
              test_cfg: dict) -> List[List[Tensor]]:
    """Logits of the views of several photographs.

    Inputs of one size go through the network together.

    Args:
        model (nn.Module): The segmentor.
        views (Sequence[Views]): The photographs' inputs, as many views each.
        test_cfg (dict): ``mode``, and for slide ``crop_size`` and ``stride``.

    Returns:
        list[list[Tensor]]: Per photograph and view, logits (C, h, w) at the
        view's size without padding, mirrored back, on CPU.
    """
    results = [[None] * len(v.images) for v in views]
    device = next(model.parameters()).device
    for place, rows in _groups(views).items():
        position = place[0]
        batch = torch.stack([views[r].images[position] for r in rows])
        metas = [views[r].metas[position] for r in rows]
        logits = _infer(model, batch.to(device), metas, test_cfg)
        for row, meta, value in zip(rows, metas, logits.float().cpu()):
            height, width = meta['img_shape'][:2]
            value = value[:, :height, :width]
            if meta.get('flip'):
                axis = FLIP_AXIS[meta['flip_direction']]
                value = value.flip(dims=(axis, ))
            results[row][position] = value
    return results


def _groups(views: Sequence[Views]) -> Dict[tuple, List[int]]:
    """Photographs by position of the view, size and mirroring."""
    groups = {}
    for row, of_photograph in enumerate(views):
        for position, (image, meta) in enumerate(
                zip(of_photograph.images, of_photograph.metas)):
            key = (position, tuple(image.shape), bool(meta.get('flip')))
            groups.setdefault(key, []).append(row)
    return groups


def _infer(model: nn.Module, batch: Tensor, metas: List[dict],
           test_cfg: dict) -> Tensor:
    """Logits (N, sum of C, h, w) at the size of the input."""
    own, model.test_cfg = model.test_cfg, ConfigDict(test_cfg)
    try:
        if test_cfg['mode'] == 'slide':
            return model.slide_inference(batch, metas, rescale=False)
        return model.whole_inference(batch, metas, rescale=False)
    finally:
        model.test_cfg = own
