"""The network's inputs of a photograph, and running the network on them."""
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from mmseg.datasets.pipelines import Compose
from torch import Tensor, nn

from mbos.models.inference import flip_direction, unique_views


@dataclass(frozen=True)
class Views:
    """What the test pipeline makes of one photograph.

    Attributes:
        images (list[Tensor]): An input (3, h, w) for each scale and flip.
        metas (list[dict]): mmseg's meta information of each.
    """

    images: list[Tensor]
    metas: list[dict]


def make_views(square: np.ndarray, steps: Sequence[dict]) -> Views:
    """Run the test pipeline without loading.

    Args:
        square (ndarray): Prepared photograph, RGB, (S, S, 3), uint8.
        steps (Sequence[dict]): Of ``PredictionSettings.steps``.

    Returns:
        Views: The inputs.
    """
    image = cv2.cvtColor(square, cv2.COLOR_RGB2BGR)  # as mmseg's are
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
    images = [i if isinstance(i, Tensor) else i.data for i in images]
    return Views(*unique_views(images, [m.data for m in metas]))


@torch.no_grad()
def run_views(model: nn.Module, views: Sequence[Views],
              test_cfg: dict) -> list[list[Tensor]]:
    """Logits of the views of several photographs.

    Inputs of one size go through the network together.

    Args:
        model (nn.Module): The segmentor.
        views (Sequence[Views]): The photographs' inputs, as many views each.
        test_cfg (dict): Of ``complete_test_cfg``.

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
        logits = model.view_logits(batch.to(device), metas, test_cfg)
        for row, value in zip(rows, logits.float().cpu()):
            results[row][position] = value
    return results


def _groups(views: Sequence[Views]) -> dict[tuple, list[int]]:
    """Photographs by position of the view, sizes and mirroring."""
    groups = {}
    for row, of_photograph in enumerate(views):
        for position, (image, meta) in enumerate(
                zip(of_photograph.images, of_photograph.metas)):
            key = (position, tuple(image.shape), tuple(meta['img_shape']),
                   flip_direction(meta))
            groups.setdefault(key, []).append(row)
    return groups
