"""The picture of a photograph and what was found, and what colours mean."""
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from mbos.painter import LabelMaps, draw_overlay
from mbos.tasks import Task

BACKGROUND, INK, FAINT = (18, 18, 22), (235, 235, 235), (150, 150, 158)
SMALLEST = 640  # width of a readable legend; narrower pictures get bars


def overlay_picture(image: np.ndarray,
                    labels: LabelMaps,
                    tasks: Sequence[Task],
                    caption: str = '') -> np.ndarray:
    """Draw label maps on a photograph as :func:`draw_overlay` does, with a
    strip below it for the legend and a caption: RGB, uint8."""
    picture = Image.fromarray(draw_overlay(image, labels, tasks))
    width = max(picture.width, SMALLEST)
    pen = ImageDraw.Draw(Image.new('RGB', (1, 1)))
    unit = draw_legend(pen, tasks, 0, 0, 100) / 100
    # the legend fills a line at most
    letters = int(np.clip(width / (unit + 2), 6, max(13, width / 60)))
    strip = 4 * letters if caption else 2 * letters + letters // 2
    sheet = Image.new('RGB', (width, picture.height + strip), BACKGROUND)
    sheet.paste(picture, ((width - picture.width) // 2, 0))
    pen = ImageDraw.Draw(sheet)
    draw_legend(pen, tasks, letters, picture.height + 1.25 * letters, letters)
    font = ImageFont.load_default(max(10, round(0.8 * letters)))
    place = (letters, picture.height + 2.9 * letters)
    pen.text(place, caption, FAINT, font, anchor='lm')
    return np.asarray(sheet)


def draw_legend(pen: ImageDraw.ImageDraw,
                tasks: Sequence[Task],
                left: float,
                middle: float,
                size: int = 15) -> float:
    """Draw colours and names of all classes on one line, around the row
    ``middle`` and in letters of so many pixels; the column after the last one.
    """
    font = ImageFont.load_default(size)
    half = 0.47 * size
    for task in tasks:
        for name, colour in zip(task.classes, task.colours):
            box = (left, middle - half, left + 2 * half, middle + half)
            if task.nested:
                pen.rectangle(box, outline=colour, width=max(2, size // 5))
            else:
                pen.rectangle(box, fill=colour)
            left += 2 * half + 0.4 * size
            pen.text((left, middle), name, INK, font, anchor='lm')
            left += pen.textlength(name, font) + 1.5 * size
    return left
