"""The one painter: label maps on photographs, in the tasks' own colours.

Nested classes, such as disc and cup, are contours; others are translucent
areas, with a contour where a task has several classes. What becomes thinner
than a pixel keeps some opacity: vessels and small lesions stay visible.
"""
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from PIL import Image

from .tasks import Task

OPACITY = 0.7
"""float: Of the areas of a task's only class. Those of several classes have
two thirds of it, as what lies below a lesion matters."""
LEVELS = 8
"""int: Steps of opacity of a class in a transparent layer."""
GAIN = 2.5
"""float: Opacity of a pixel by the share of it that a class covers."""
FRACTION_BITS = 4  # of a pixel, for smooth lines
Size = tuple[int, int]  # width and height


@dataclass(eq=False)
class DrawnTask:
    """A task's label map (H, W), of which 255 is not drawn, as pictures of
    several sizes show it; outlines are found once."""

    labels: np.ndarray
    task: Task

    def cover(self, value: int, size: Size, opacity=OPACITY) -> np.ndarray:
        """How strongly the class of a label value covers each pixel of a
        picture of a width and height: uint8 (height, width)."""
        line = max(1, round(max(size) / 650))
        if self.task.nested:
            return self._contour(value, size, 2 * line)
        # by the share of each pixel that the class covers
        share = _resized(self._mask(value), size)
        if self.task.num_classes == 1:
            return cv2.LUT(share, _strengths(GAIN, opacity))
        area = cv2.LUT(share, _strengths(GAIN, opacity * 2 / 3))
        return np.maximum(area, self._contour(value, size, line))

    def _mask(self, value: int) -> np.ndarray:
        """Where a class is, (H, W), uint8 of 0 and 255."""
        highest = self.task.num_classes if self.task.nested else value
        return cv2.inRange(self.labels, value, highest)

    @cached_property
    def _outlines(self) -> list[Sequence[np.ndarray]]:
        """Outlines by class, in the pixels of the label map."""
        masks = map(self._mask, range(1, self.task.num_classes + 1))
        how = cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE
        return [cv2.findContours(mask, *how)[0] for mask in masks]

    def _contour(self, value: int, size: Size, width: int) -> np.ndarray:
        """Opacity of the outline, drawn at the size of the picture."""
        scale = np.array(size) / self.labels.shape[::-1]
        lines = [
            np.rint(((line + 0.5) * scale - 0.5) * 2**FRACTION_BITS).astype(
                np.int32) for line in self._outlines[value - 1]
        ]
        canvas = np.zeros(size[::-1], np.uint8)
        cv2.polylines(canvas, lines, True, 255, width, cv2.LINE_AA,
                      FRACTION_BITS)
        # a smooth line of one pixel reaches four fifths of its colour
        return cv2.LUT(canvas, _strengths(1.25, 1))


LabelMaps = Mapping[str, np.ndarray | DrawnTask]


def draw_overlay(image: np.ndarray,
                 labels: LabelMaps,
                 tasks: Sequence[Task],
                 opacity: float = OPACITY) -> np.ndarray:
    """Draw label maps, by task name, on a copy of a photograph (H, W, 3), RGB,
    uint8, which may be shrunk; the last task is on top."""
    picture = image.copy()
    pixels = picture.reshape(-1, 3)
    for task in tasks:
        drawn = labels.get(task.name)
        if isinstance(drawn, np.ndarray):
            drawn = DrawnTask(drawn, task)
        for value, colour in enumerate(task.colours if drawn else (), 1):
            cover = drawn.cover(value, image.shape[1::-1], opacity).ravel()
            covered = np.flatnonzero(cover)
            below = pixels[covered].astype(np.float32)
            share = cover[covered, None] * np.float32(1 / 255)
            mixed = below + share * (np.float32(colour) - below)
            pixels[covered] = mixed.round().astype(np.uint8)
    return picture


def draw_layer(drawn: DrawnTask, size: Size) -> Image.Image:
    """Draw a label map as a transparent picture of a width and height to lay
    over a photograph; small as a PNG."""
    levels = max(1, min(LEVELS, 255 // drawn.task.num_classes))
    indices = np.zeros(size[::-1], np.uint8)
    strongest = np.zeros_like(indices)
    table, alpha = [(0, 0, 0)], [0]
    for value, colour in enumerate(drawn.task.colours, 1):
        cover = drawn.cover(value, size)
        steps = np.ceil(cover * (levels / 255) - 0.5).astype(np.uint8)
        wins = (steps > 0) & (steps >= strongest)
        indices[wins] = (value - 1) * levels + steps[wins]
        strongest[wins] = steps[wins]
        table += [colour] * levels
        alpha += [round(255 * (i + 1) / levels) for i in range(levels)]
    picture = Image.fromarray(indices)
    picture.putpalette(np.array(table, np.uint8).tobytes())
    picture.info['transparency'] = bytes(alpha)
    return picture


def _strengths(gain: float, opacity: float) -> np.ndarray:
    """Opacity by coverage, both 0 to 255, uint8."""
    shares = np.minimum(1, gain * np.arange(256) / 255)
    return np.rint(255 * opacity * shares).astype(np.uint8)


def shrink(image: np.ndarray, longest: int) -> np.ndarray:
    """An image, or a copy whose longer side is that long if it is longer."""
    scale = longest / max(image.shape[:2])
    if scale >= 1:
        return image
    width, height = (max(1, round(s * scale)) for s in image.shape[1::-1])
    return _resized(image, (width, height))


def _resized(image: np.ndarray, size: Size) -> np.ndarray:
    """An image of another width and height: halved as often as possible, which
    takes OpenCV a tenth of the time of other factors."""
    while image.shape[1] >= 2 * size[0] and image.shape[0] >= 2 * size[1]:
        height, width = (side // 2 for side in image.shape[:2])
        even = image[:2 * height, :2 * width]
        image = cv2.resize(even, (width, height), interpolation=cv2.INTER_AREA)
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)
