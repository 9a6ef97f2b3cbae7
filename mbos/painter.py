"""The one painter: label maps on photographs, as every tool shows them.

The colours are the tasks' own, which mbos/tasks.py declares. Nested classes,
such as disc and cup, are contours; others are translucent areas, with a
contour where a task has several classes. What becomes thinner than a pixel
keeps some opacity, so that vessels and small lesions stay visible.
"""
from collections.abc import Mapping, Sequence

import cv2
import numpy as np
from PIL import Image

from .tasks import Task

OPACITY = 0.7
"""float: Of the areas of a task's only class. Those of several classes have
two thirds of it, as what lies below a lesion matters."""
LEVELS = 8
"""int: Steps of opacity of a class in a transparent layer."""
_GAIN = 2.5
_FRACTION_BITS = 4  # of a pixel, for smooth lines


def draw_overlay(image: np.ndarray,
                 labels: Mapping[str, np.ndarray],
                 tasks: Sequence[Task],
                 opacity: float = OPACITY) -> np.ndarray:
    """Draw label maps on a photograph.

    Args:
        image (ndarray): RGB photograph (H, W, 3), uint8.
        labels (dict[str, ndarray]): Label maps by task name, of the same
            shape or that of the photograph before it was shrunk; 255 is not
            drawn.
        tasks (Sequence[Task]): The tasks to draw, the last one on top.
        opacity (float): Of areas. Default: 0.7.

    Returns:
        ndarray: RGB picture (H, W, 3), uint8.
    """
    picture = image.copy()
    size = image.shape[1::-1]
    for task in tasks:
        if task.name not in labels:
            continue
        for value, colour in enumerate(task.colours, 1):
            cover = _cover(labels[task.name], value, task, size, opacity)
            drawn = cover > 0
            below = picture[drawn].astype(np.float32)
            mixed = below + cover[drawn, None] * (np.float32(colour) - below)
            picture[drawn] = mixed.round().astype(np.uint8)
    return picture


def draw_layer(labels: np.ndarray, task: Task,
               size: tuple[int, int]) -> Image.Image:
    """Draw a label map as a transparent picture to lay over a photograph.

    Args:
        labels (ndarray): Label map (H, W); 255 is not drawn.
        task (Task): What the labels mean.
        size (tuple[int, int]): Width and height of the picture.

    Returns:
        Image: Palette picture with transparency, small as a PNG.
    """
    levels = max(1, min(LEVELS, 255 // task.num_classes))
    indices = np.zeros(size[::-1], np.uint8)
    strongest = np.zeros_like(indices)
    table, alpha = [(0, 0, 0)], [0]
    for value, colour in enumerate(task.colours, 1):
        cover = _cover(labels, value, task, size)
        steps = np.ceil(cover * levels - 0.5).astype(np.uint8)
        wins = (steps > 0) & (steps >= strongest)
        indices[wins] = (value - 1) * levels + steps[wins]
        strongest[wins] = steps[wins]
        table += [colour] * levels
        alpha += [round(255 * (i + 1) / levels) for i in range(levels)]
    picture = Image.fromarray(indices)
    picture.putpalette(np.array(table, np.uint8).tobytes())
    picture.info['transparency'] = bytes(alpha)
    return picture


def _cover(labels: np.ndarray,
           value: int,
           task: Task,
           size: tuple[int, int],
           opacity: float = OPACITY) -> np.ndarray:
    """How strongly a class covers each pixel of a picture, 0 to 1."""
    line = max(1, round(max(size) / 650))
    if task.nested:
        mask = (labels >= value) & (labels <= task.num_classes)
        return _contour(mask, size, 2 * line)
    mask = labels == value
    if task.num_classes == 1:
        return _area(mask, size, opacity)
    return np.maximum(
        _area(mask, size, opacity * 2 / 3), _contour(mask, size, line))


def _area(mask: np.ndarray, size: tuple[int, int],
          opacity: float) -> np.ndarray:
    """Opacity by the share of each pixel that the mask covers."""
    # bytes, as floats of a large photograph take much memory
    covered = cv2.resize(
        mask.astype(np.uint8) * 255, size, interpolation=cv2.INTER_AREA)
    return opacity * np.minimum(1, _GAIN / 255 * covered.astype(np.float32))


def _contour(mask: np.ndarray, size: tuple[int, int],
             width: int) -> np.ndarray:
    """Opacity of the outline, drawn at the size of the picture."""
    contours, _ = cv2.findContours(
        mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    scale = np.array(size) / mask.shape[::-1]
    lines = [
        np.rint(((line + 0.5) * scale - 0.5) * (1 << _FRACTION_BITS)).astype(
            np.int32) for line in contours
    ]
    canvas = np.zeros(size[::-1], np.uint8)
    cv2.polylines(canvas, lines, True, 255, width, cv2.LINE_AA, _FRACTION_BITS)
    # a smooth line of one pixel reaches four fifths of its colour
    return np.minimum(1, 1.25 / 255 * canvas.astype(np.float32))


def fitted_size(width: int, height: int, longest: int) -> tuple[int, int]:
    """Width and height of a copy whose longer side is at most that long."""
    scale = min(1.0, longest / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def shrink(image: np.ndarray, longest: int) -> np.ndarray:
    """A copy of an image whose longer side is at most that long."""
    size = fitted_size(image.shape[1], image.shape[0], longest)
    if size == image.shape[1::-1]:
        return image
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)
