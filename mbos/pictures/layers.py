"""Label maps as small transparent pictures, to lay over a photograph."""
from typing import Optional, Sequence, Tuple

import cv2
import numpy as np
from PIL import Image

from mbos.tasks import IGNORE_INDEX, Task
from .overlays import DEFAULT_COLOURS

LEVELS = 8
"""int: Steps of opacity of filled classes; a palette has room for few."""

_GAIN = 2.5
_FILLED = 0.75


def layer_size(width: int, height: int, longest: int) -> Tuple[int, int]:
    """Width and height of a small copy; never larger than the picture."""
    scale = min(1.0, longest / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def draw_layer(labels: np.ndarray, task: Task,
               size: Tuple[int, int]) -> Image.Image:
    """Draw a label map as a transparent picture of another size.

    Classes are drawn as in ``draw_overlay``: nested ones as contours, the
    others filled. Where an area becomes thinner than a pixel it keeps some
    opacity, so that thin vessels and small lesions stay visible.

    Args:
        labels (ndarray): Label map of shape (H, W), dtype uint8; 255 is not
            drawn.
        task (Task): What the labels mean.
        size (tuple[int, int]): Width and height of the picture.

    Returns:
        Image: Palette picture with transparency, small as a PNG.
    """
    indices = np.zeros((size[1], size[0]), np.uint8)
    strongest = np.zeros_like(indices)
    for value in range(1, task.num_classes + 1):
        if task.nested:
            mask = (labels >= value) & (labels != IGNORE_INDEX)
            opacity = contour_opacity(mask, size)
        else:
            opacity = area_opacity(labels == value, size)
            if task.num_classes > 1:
                opacity = np.maximum(opacity,
                                     contour_opacity(labels == value, size))
        steps = np.rint(opacity * LEVELS).astype(np.uint8)
        wins = (steps > 0) & (steps >= strongest)
        # Few classes fit a palette; more share the colours, as in
        # draw_overlay.
        slot = (value - 1) % _slots(task)
        indices[wins] = 1 + slot * LEVELS + (steps[wins] - 1)
        strongest[wins] = steps[wins]
    return _with_palette(indices, task)


def _slots(task: Task) -> int:
    return min(len(task.palette or DEFAULT_COLOURS), 255 // LEVELS)


def area_opacity(mask: np.ndarray,
                 size: Tuple[int, int],
                 filled: float = _FILLED) -> np.ndarray:
    """Opacity of a filled area, by the share of each pixel that it covers.

    Args:
        mask (ndarray): Boolean, (H, W).
        size (tuple[int, int]): Width and height of the picture.
        filled (float): Opacity of a pixel that is covered. Default: 0.75.

    Returns:
        ndarray: 0 to 1, of the picture's size.
    """
    # bytes, as floats of a large photograph take much memory
    covered = cv2.resize(
        mask.astype(np.uint8) * 255, size, interpolation=cv2.INTER_AREA)
    return filled * np.minimum(1, _GAIN / 255 * covered.astype(np.float32))


def contour_opacity(mask: np.ndarray,
                    size: Tuple[int, int],
                    width: Optional[int] = None) -> np.ndarray:
    """Opacity of an outline, drawn at the size of the picture.

    Args:
        mask (ndarray): Boolean, (H, W).
        size (tuple[int, int]): Width and height of the picture.
        width (int, optional): Of the line in pixels. Default: by the size.

    Returns:
        ndarray: 0 to 1, of the picture's size.
    """
    contours, _ = cv2.findContours(
        mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    scale = np.array(size) / mask.shape[::-1]
    canvas = np.zeros((size[1], size[0]), np.uint8)
    bits = 4  # of the fraction of a pixel, for smooth lines
    shifted = [
        np.rint(((line + 0.5) * scale - 0.5) * (1 << bits)).astype(np.int32)
        for line in contours
    ]
    width = width or max(1, round(max(size) / 350))
    cv2.polylines(canvas, shifted, True, 255, width, cv2.LINE_AA, bits)
    return canvas.astype(np.float32) / 255


def _with_palette(indices: np.ndarray, task: Task) -> Image.Image:
    picture = Image.fromarray(indices)
    colours = (task.palette or DEFAULT_COLOURS)[:_slots(task)]
    table, opacity = [(0, 0, 0)], [0]
    for colour in colours:
        table += [tuple(colour)] * LEVELS
        opacity += [round(255 * (i + 1) / LEVELS) for i in range(LEVELS)]
    picture.putpalette(np.array(table, np.uint8).tobytes())
    picture.info['transparency'] = bytes(opacity)
    return picture


def check_size(labels: np.ndarray, width: int, height: int, path: str,
               photograph: str) -> None:
    """Refuse a label map of another size than its photograph.

    Raises:
        ValueError: Naming both files.
    """
    if labels.shape != (height, width):
        raise ValueError(
            f'{path}: the label map is {labels.shape[1]} pixels wide and '
            f'{labels.shape[0]} high, its photograph {photograph} is {width} '
            f'and {height}; predict it again.')


def legend_colours(task: Task) -> Sequence[Tuple[int, int, int]]:
    """RGB colour of each class, as layers show it."""
    colours = (task.palette or DEFAULT_COLOURS)[:_slots(task)]
    return [colours[i % len(colours)] for i in range(task.num_classes)]
