"""From a photograph to a square and back, pixel by pixel."""
from dataclasses import dataclass
from typing import Sequence, Tuple

import numpy as np
import torch
from torch import Tensor

from mbos.io.field_of_view import FieldOfView, find_field_of_view
from mbos.io.geometry import Geometry, make_geometry
from mbos.io.photographs import Photograph
from mbos.models.inference import class_probabilities
from mbos.tasks import Task, Threshold

ROWS = 512
"""Rows that are decoded together, which bounds memory."""


@dataclass(frozen=True)
class PreparedPhotograph:
    """Where a photograph's crop lies.

    Attributes:
        geometry (Geometry): Crop and padding; nothing is scaled.
        field_of_view (FieldOfView): The retina in the photograph.
        notes (tuple[str]): What was done to read it.
    """

    geometry: Geometry
    field_of_view: FieldOfView
    notes: Tuple[str, ...] = ()


def prepare_photograph(
        photograph: Photograph,
        crop: str = 'fov') -> Tuple[PreparedPhotograph, np.ndarray]:
    """Crop and pad a photograph as the training data were.

    Args:
        photograph (Photograph): The photograph.
        crop (str): As ``PredictionSettings.crop``.

    Returns:
        tuple[PreparedPhotograph, ndarray]: Where the crop lies, and the crop,
        RGB, (S, S, 3), uint8; of any shape with ``crop='none'``.
    """
    image = photograph.image
    fov = find_field_of_view(image)
    geometry = make_geometry(
        'photograph', (image.shape[1], image.shape[0]),
        box=fov.box if crop == 'fov' else None,
        square=crop != 'none')
    return (PreparedPhotograph(geometry, fov, photograph.notes),
            geometry.apply(image, is_label=False))


def restore(task: Task, logits: Sequence[Tensor], geometry: Geometry,
            threshold: Threshold,
            align_corners: bool) -> Tuple[np.ndarray, np.ndarray]:
    """Put predictions back into the photograph.

    As in testing, logits are resized to the size of the crop before the
    sigmoid, and the probabilities of several views are averaged.

    Args:
        task (Task): The task.
        logits (Sequence[Tensor]): Of each view of the crop, (C, h, w).
        geometry (Geometry): Where the crop lies in the photograph.
        threshold (float | dict[str, float]): Probability to exceed.
        align_corners (bool): How logits are resized.

    Returns:
        tuple[ndarray, ndarray]: Labels (H, W), uint8, and probabilities
        (C, H, W), float32; both 0 outside the crop.
    """
    x, y, width, height = geometry.box
    left, top = geometry.pad_left, geometry.pad_top
    shape = (geometry.height, geometry.width)
    prob = np.zeros((task.num_classes, ) + shape, np.float32)
    planes = class_probabilities(
        logits, (geometry.padded_height, geometry.padded_width), align_corners,
        (slice(top, top + height), slice(left, left + width)))
    for full, plane in zip(prob, planes):
        full[y:y + height, x:x + width] = plane.float().numpy()
    return decode(task, prob, threshold), prob


def decode(task: Task, prob: np.ndarray, threshold: Threshold) -> np.ndarray:
    """As ``Task.decode``, with little memory and only where something is.

    Args:
        task (Task): The task.
        prob (ndarray): Probabilities (C, H, W), float32.
        threshold (float | dict[str, float]): Probability to exceed, of all
            classes or by class.

    Returns:
        ndarray: Labels (H, W), uint8.
    """
    lowest = min(task.thresholds(threshold).values())
    labels = np.zeros(prob.shape[1:], np.uint8)
    for start in range(0, len(labels), ROWS):
        rows = slice(start, start + ROWS)
        block = torch.from_numpy(prob[:, rows])
        found = (block > lowest).any(dim=0)
        # a column of pixels; background is most of any photograph
        values = task.decode(block[:, found][..., None], threshold)
        labels[rows][found.numpy()] = values[:, 0].numpy()
    return labels
