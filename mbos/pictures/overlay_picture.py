"""The picture of a photograph and what was found, made to be looked at."""
from typing import Mapping, Sequence

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from mbos.tasks import Task
from .layers import area_opacity, contour_opacity, layer_size, legend_colours
from .legend import draw_legend

BACKGROUND = (18, 18, 22)
FAINT = (150, 150, 158)
ALONE = 0.6
TINTED = 0.3
"""float: Opacity of the areas of a task's only class, and of several ones."""
SMALLEST = 640
"""int: Width from which a legend is readable; narrower pictures get bars."""


def overlay_picture(image: np.ndarray,
                    labels: Mapping[str, np.ndarray],
                    tasks: Sequence[Task],
                    longest: int = 1600,
                    caption: str = '') -> np.ndarray:
    """Draw label maps on a photograph, with a legend below it.

    Nested classes are contours, the others translucent areas; what becomes
    thinner than a pixel keeps some opacity, so that vessels stay visible.

    Args:
        image (ndarray): RGB photograph (H, W, 3), uint8.
        labels (dict[str, ndarray]): Label maps (H, W) by task name.
        tasks (Sequence[Task]): The tasks to draw, the last one on top.
        longest (int): Longer side of the drawn photograph; 0 keeps its size.
            Default: 1600.
        caption (str): Stands below the legend.

    Returns:
        ndarray: RGB picture, uint8: the photograph and a strip below it.
    """
    height, width = image.shape[:2]
    size = layer_size(width, height, longest or max(width, height))
    if size != (width, height):
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    picture = image.astype(np.float32)
    for task in tasks:
        if task.name not in labels:
            continue
        for value, colour in enumerate(legend_colours(task), 1):
            opacity = _opacity(labels[task.name], value, task, size)[..., None]
            picture += opacity * (np.float32(colour) - picture)
    picture = Image.fromarray(picture.round().astype(np.uint8))
    return np.asarray(_with_strip(picture, tasks, caption))


def _opacity(labels: np.ndarray, value: int, task: Task, size) -> np.ndarray:
    """Where and how strongly a class covers the photograph, (h, w)."""
    line = max(1, round(max(size) / 650))
    if task.nested:
        mask = (labels >= value) & (labels <= task.num_classes)
        return contour_opacity(mask, size, 2 * line)
    mask = labels == value
    if task.num_classes == 1:
        return area_opacity(mask, size, ALONE)
    # what lies below a lesion matters, so it is hardly tinted
    return np.maximum(
        area_opacity(mask, size, TINTED), contour_opacity(mask, size, line))


def _with_strip(picture: Image.Image, tasks: Sequence[Task],
                caption: str) -> Image.Image:
    """Put the legend and a caption below a picture."""
    width = max(picture.width, SMALLEST)
    letters = _letters(tasks, width)
    strip = 4 * letters if caption else 2 * letters + letters // 2
    sheet = Image.new('RGB', (width, picture.height + strip), BACKGROUND)
    sheet.paste(picture, ((width - picture.width) // 2, 0))
    pen = ImageDraw.Draw(sheet)
    draw_legend(pen, tasks, letters, picture.height + 1.25 * letters, letters)
    if caption:
        pen.text((letters, picture.height + 2.9 * letters),
                 caption,
                 FAINT,
                 ImageFont.load_default(max(10, round(0.8 * letters))),
                 anchor='lm')
    return sheet


def _letters(tasks: Sequence[Task], width: int) -> int:
    """Size of letters with which the legend fills a line at most."""
    pen = ImageDraw.Draw(Image.new('RGB', (1, 1)))
    unit = draw_legend(pen, tasks, 0, 0, 100) / 100
    return int(np.clip((width / (unit + 2)), 6, max(13, width / 60)))
