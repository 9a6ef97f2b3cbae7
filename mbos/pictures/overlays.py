"""Overlays of label maps on photographs."""
from typing import Dict, Sequence

import cv2
import numpy as np

from mbos.tasks import Task

DEFAULT_COLOURS = ((70, 110, 255), (255, 221, 51), (230, 30, 60),
                   (120, 230, 255), (190, 60, 255), (60, 220, 90))


def draw_overlay(image: np.ndarray,
                 labels: Dict[str, np.ndarray],
                 tasks: Sequence[Task],
                 opacity: float = 0.6) -> np.ndarray:
    """Draw predictions or ground truth on a photograph.

    Nested classes, such as disc and cup, are drawn as contours; the others are
    filled, so that thin vessels stay visible, and exclusive classes also get a
    contour.

    Args:
        image (ndarray): RGB photograph, (H, W, 3), uint8.
        labels (dict[str, ndarray]): Label maps (H, W) by task name; 255 is not
            drawn.
        tasks (Sequence[Task]): The tasks to draw, in this order.
        opacity (float): Of filled areas. Default: 0.6.

    Returns:
        ndarray: RGB picture, (H, W, 3), uint8.
    """
    picture = image.copy()
    width = max(1, round(min(image.shape[:2]) / 400))
    for task in tasks:
        if task.name not in labels:
            continue
        plane = labels[task.name]
        colours = task.palette or DEFAULT_COLOURS
        for value in range(1, task.num_classes + 1):
            colour = colours[(value - 1) % len(colours)]
            if task.nested:
                mask = (plane >= value) & (plane <= task.num_classes)
            else:
                mask = plane == value
                mixed = ((1 - opacity) * picture[mask] +
                         opacity * np.array(colour))
                picture[mask] = mixed.round().astype(np.uint8)
            if task.num_classes > 1:
                contours, _ = cv2.findContours(
                    mask.astype(np.uint8), cv2.RETR_EXTERNAL,
                    cv2.CHAIN_APPROX_NONE)
                cv2.drawContours(picture, contours, -1, colour, width)
    return picture
