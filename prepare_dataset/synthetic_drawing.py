"""A supersampled drawing surface in eye coordinates.

The origin of eye coordinates is the centre of the field of view, its radius
is 1, x points right and y down. A photograph that is trained on at 224 px has
a radius of 112 px, so 0.01 is about one pixel there.
"""
from typing import NamedTuple

import cv2
import numpy as np

SUPERSAMPLING = 3
FIXED_POINT_BITS = 4


class Frame(NamedTuple):
    """Where the field of view lies in a photograph, in pixels."""

    height: int
    width: int
    center_x: float
    center_y: float
    radius: float

    def to_pixels(self, points: np.ndarray) -> np.ndarray:
        """Map eye coordinates (N, 2) to pixel coordinates (N, 2)."""
        center = np.array([self.center_x, self.center_y])
        return center + self.radius * np.asarray(points, dtype=np.float64)

    def grid(self) -> tuple[np.ndarray, np.ndarray]:
        """Eye coordinates x (1, W) and y (H, 1) of every pixel centre."""
        x = (np.arange(self.width, dtype=np.float32) - self.center_x)
        y = (np.arange(self.height, dtype=np.float32) - self.center_y)
        return x[None] / self.radius, y[:, None] / self.radius


class Canvas:
    """A supersampled drawing surface in eye coordinates."""

    def __init__(self, frame: Frame):
        self.frame = frame
        self.pixels = np.zeros(
            (frame.height * SUPERSAMPLING, frame.width * SUPERSAMPLING),
            np.uint8)

    def _fixed(self, points: np.ndarray) -> np.ndarray:
        points = (self.frame.to_pixels(points) + 0.5) * SUPERSAMPLING - 0.5
        return np.round(points * (1 << FIXED_POINT_BITS)).astype(np.int32)

    def polygon(self, points: np.ndarray) -> None:
        """Fill the polygon (N, 2)."""
        cv2.fillPoly(
            self.pixels, [self._fixed(points)], 255, shift=FIXED_POINT_BITS)

    def tapered_line(self, points: np.ndarray, start_width: float,
                     end_width: float) -> None:
        """Draw the line through points (N, 2), narrowing along its way."""
        fixed = self._fixed(points)
        scale = self.frame.radius * SUPERSAMPLING
        widths = np.linspace(start_width, end_width, len(points)) * scale
        thickness = np.maximum(1, np.round(widths)).astype(int)
        cuts = np.flatnonzero(np.diff(thickness)) + 1
        bounds = [0, *cuts.tolist(), len(points) - 1]
        for first, last in zip(bounds[:-1], bounds[1:]):
            if last > first:
                cv2.polylines(
                    self.pixels, [fixed[first:last + 1]],
                    False,
                    255,
                    thickness=int(thickness[first]),
                    shift=FIXED_POINT_BITS)

    def coverage(self) -> np.ndarray:
        """Covered share (H, W) float32 of every pixel."""
        size = (self.frame.width, self.frame.height)
        small = cv2.resize(self.pixels, size, interpolation=cv2.INTER_AREA)
        return small.astype(np.float32) / 255
