"""How a photograph becomes a square image, and predictions go back."""
from dataclasses import dataclass, fields

import cv2
import numpy as np

from .downscale import scale_labels

Box = tuple[int, int, int, int]  # left, top, width and height in pixels


@dataclass(frozen=True)
class Geometry:
    """How one photograph became its prepared image; a row of geometry.csv.

    ``x`` to ``box_height`` is the part that is kept, ``pad_left`` and
    ``pad_top`` are columns and rows of zeros before it, and ``scale`` is the
    prepared size over the padded one.
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
    def from_row(cls, row: dict) -> 'Geometry':
        """Read a row of geometry.csv, all of whose values are strings."""
        return cls(**{f.name: f.type(row[f.name]) for f in fields(cls)})

    @property
    def box(self) -> Box:
        """Left, top, width and height of what is kept."""
        return self.x, self.y, self.box_width, self.box_height

    def _parts(self) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
        """Where the box is in the photograph, and in the padded image."""
        x, y, width, height = self.box
        left, top = self.pad_left, self.pad_top
        return ((slice(y, y + height), slice(x, x + width)),
                (slice(top, top + height), slice(left, left + width)))

    def apply(self, array: np.ndarray, is_label: bool) -> np.ndarray:
        """Crop, pad with zeros and scale an image or labels (H, W[, C])."""
        kept, padded_part = self._parts()
        size = self.padded_width, self.padded_height
        padded = np.zeros((*size[::-1], *array.shape[2:]), array.dtype)
        padded[padded_part] = array[kept]
        prepared = self.prepared_width, self.prepared_height
        if prepared == size:
            return padded
        if is_label:  # whose values must not be mixed
            return scale_labels(padded, prepared)
        return cv2.resize(padded, prepared, interpolation=cv2.INTER_AREA)

    def restore(self, array: np.ndarray) -> np.ndarray:
        """Put labels of the prepared size back into the photograph, 0 outside
        the box.
        """
        expected = (self.prepared_height, self.prepared_width)
        if array.shape[:2] != expected:
            raise ValueError(
                f'{self.name}: labels of {array.shape[:2]} rows and columns '
                f'do not belong to a prepared image of {expected}.')
        kept, padded_part = self._parts()
        size = self.padded_width, self.padded_height
        padded = cv2.resize(array, size, interpolation=cv2.INTER_NEAREST_EXACT)
        shape = self.height, self.width, *array.shape[2:]
        out = np.zeros(shape, array.dtype)
        out[kept] = padded[padded_part]
        return out


def make_geometry(name: str,
                  size: tuple[int, int],
                  box: Box | None = None,
                  square: bool = True,
                  max_side: int | None = None) -> Geometry:
    """Work out crop, padding and scale of a photograph of a size (width,
    height): keep the box, or everything, pad to a square, the odd pixel at the
    bottom or at the right, and scale larger results down to ``max_side``.
    """
    x, y, width, height = box or (0, 0, *size)
    padded = (max(width, height), ) * 2 if square else (width, height)
    scale = min(1.0, max_side / max(padded)) if max_side else 1.0
    prepared = tuple(max(1, round(side * scale)) for side in padded)
    return Geometry(name, *size, x, y, width, height, (padded[0] - width) // 2,
                    (padded[1] - height) // 2, *padded, scale, *prepared)
