"""How a photograph becomes a square image, and predictions go back."""
from dataclasses import astuple, dataclass, fields

import cv2
import numpy as np

from .downscale import scale_labels
from .images import max_image_pixels

MAX_PADDING = 16
"""int: How many times larger padding to a square may make an image."""
Box = tuple[int, int, int, int]
"""Left, top, width and height in pixels."""


@dataclass(frozen=True)
class Geometry:
    """How one photograph became its prepared image; a row of geometry.csv.

    Args:
        name: Stem of the photograph.
        width, height: Size of the photograph.
        x, y, box_width, box_height: The part that is kept.
        pad_left, pad_top: Columns and rows of zeros before it.
        padded_width, padded_height: Size after padding.
        scale: Prepared size over padded size.
        prepared_width, prepared_height: Size of the prepared image.
    """
    name: str
    width: int
    height: int
    x: int
    y: int
    box_width: int
    box_height: int
    pad_left: int
    pad_top: int
    padded_width: int
    padded_height: int
    scale: float
    prepared_width: int
    prepared_height: int

    @classmethod
    def columns(cls) -> tuple[str, ...]:
        """Names of the columns of geometry.csv."""
        return tuple(field.name for field in fields(cls))

    @classmethod
    def from_row(cls, row: dict) -> 'Geometry':
        """Read a row of geometry.csv, all of whose values are strings.

        Raises:
            ValueError: If values are not numbers, or contradict each other.
        """
        found = cls(**{f.name: f.type(row[f.name]) for f in fields(cls)})
        if not found._is_possible():
            raise ValueError(f'the numbers of {found.name!r} do not belong '
                             'together')
        return found

    def _is_possible(self) -> bool:
        """Whether parts lie in their wholes, and sizes are sensible."""
        sides = ((self.x, self.box_width,
                  self.width), (self.y, self.box_height, self.height),
                 (self.pad_left, self.box_width, self.padded_width),
                 (self.pad_top, self.box_height, self.padded_height))
        pixels = max(self.width * self.height,
                     self.padded_width * self.padded_height)
        return all(start >= 0 < size and start + size <= whole
                   for start, size, whole in sides) and (
                       pixels <= max_image_pixels() * MAX_PADDING
                       and 0 < self.prepared_width <= self.padded_width
                       and 0 < self.prepared_height <= self.padded_height
                       and 0 < self.scale <= 1)

    def to_row(self) -> tuple:
        """The values in the order of ``columns()``."""
        return astuple(self)

    @property
    def box(self) -> Box:
        """Left, top, width and height of what is kept."""
        return self.x, self.y, self.box_width, self.box_height

    def apply(self, array: np.ndarray, is_label: bool) -> np.ndarray:
        """Crop, pad with zeros and scale an image or labels (H, W[, C]).

        Labels, whose values must not be mixed, are scaled down by
        ``downscale.scale_labels``, images by area.
        """
        x, y, width, height = self.box
        padded = np.zeros(
            (self.padded_height, self.padded_width) + array.shape[2:],
            array.dtype)
        padded[self.pad_top:self.pad_top + height,
               self.pad_left:self.pad_left + width] = array[y:y + height,
                                                            x:x + width]
        size = (self.prepared_width, self.prepared_height)
        if size == (self.padded_width, self.padded_height):
            return padded
        if is_label:
            return scale_labels(padded, size)
        return cv2.resize(padded, size, interpolation=cv2.INTER_AREA)

    def restore(self, array: np.ndarray) -> np.ndarray:
        """Put labels of the prepared size back into the photograph, 0 outside
        the box.
        """
        expected = (self.prepared_height, self.prepared_width)
        if array.shape[:2] != expected:
            raise ValueError(
                f'{self.name}: labels of {array.shape[:2]} rows and columns '
                f'do not belong to a prepared image of {expected}.')
        size = (self.padded_width, self.padded_height)
        if size != expected[::-1]:
            array = cv2.resize(
                array, size, interpolation=cv2.INTER_NEAREST_EXACT)
        x, y, width, height = self.box
        out = np.zeros((self.height, self.width) + array.shape[2:],
                       array.dtype)
        out[y:y + height,
            x:x + width] = array[self.pad_top:self.pad_top + height,
                                 self.pad_left:self.pad_left + width]
        return out


def make_geometry(name: str,
                  size: tuple[int, int],
                  box: Box | None = None,
                  square: bool = True,
                  max_side: int | None = None) -> Geometry:
    """Work out crop, padding and scale of one photograph.

    Args:
        name: Stem of the photograph.
        size: Its width and height.
        box: What to keep; None is everything.
        square: Whether to pad to a square; the odd pixel is at the bottom or
            at the right.
        max_side: Larger results are scaled down to this.
    """
    x, y, width, height = box or (0, 0, *size)
    padded = (max(width, height), ) * 2 if square else (width, height)
    scale = 1.0
    if max_side and max(padded) > max_side:
        scale = max_side / max(padded)
    prepared = tuple(max(1, round(side * scale)) for side in padded)
    return Geometry(name, *size, x, y, width, height, (padded[0] - width) // 2,
                    (padded[1] - height) // 2, *padded, scale, *prepared)
