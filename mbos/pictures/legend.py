"""What the colours of a picture mean."""
from typing import Sequence

from PIL import ImageFont

from mbos.tasks import Task
from .layers import legend_colours

INK = (235, 235, 235)


def draw_legend(pen,
                tasks: Sequence[Task],
                left: float,
                middle: float,
                size: int = 15) -> float:
    """Draw colours and names of all classes on one line.

    Args:
        pen (ImageDraw): Where to draw.
        tasks (Sequence[Task]): Whose classes.
        left (float): Column to begin at.
        middle (float): Row of the line's middle.
        size (int): Of the letters in pixels. Default: 15.

    Returns:
        float: The column after the last name.
    """
    font = ImageFont.load_default(size)
    half = 0.47 * size
    for task in tasks:
        for name, colour in zip(task.classes, legend_colours(task)):
            box = (left, middle - half, left + 2 * half, middle + half)
            if task.nested:
                pen.rectangle(box, outline=colour, width=max(2, size // 5))
            else:
                pen.rectangle(box, fill=colour)
            text = left + 2 * half + 0.4 * size
            pen.text((text, middle), name, INK, font, anchor='lm')
            left = text + pen.textlength(name, font) + 1.5 * size
    return left
