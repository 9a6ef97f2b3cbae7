"""The field of view: found, cropped and padded to a square.

See docs/method.md, section 1, "Preparation, published".

The published rule is a grey value above 20, dilated by a 5x5 ellipse, and the
bounding box of the largest outer contour. It stands wherever its contour looks
like a field of view. Vignetted photographs, whose dark side falls below 20,
and backgrounds brighter than 20 are searched again with other thresholds.
"""
from dataclasses import astuple, dataclass, fields
from typing import Iterator, Optional, Tuple

import cv2
import numpy as np

from mbos.io import max_image_pixels
from .downscale import scale_labels

GREY_THRESHOLD = 20
DARK_THRESHOLDS = (14, 10, 7)
BRIGHT_THRESHOLDS = (30, 40, 50, 60, 80, 100)
MAX_PADDING = 16
"""int: How many times larger padding to a square may make an image."""
Box = Tuple[int, int, int, int]


@dataclass(frozen=True)
class FieldOfView:
    """Where the retina is in a photograph.

    Args:
        box (tuple[int]): Left, top, width and height in pixels.
        mask (np.ndarray): 1 inside, 0 outside; shape (H, W), dtype uint8.
        certain (bool): False if no threshold gave a contour that looks like a
            field of view, so that the published rule's is returned.
    """
    box: Box
    mask: np.ndarray
    certain: bool = True


@dataclass(frozen=True)
class Geometry:
    """How one photograph became its prepared image; a row of geometry.csv.

    Args:
        name (str): Stem of the photograph.
        width, height (int): Size of the photograph.
        x, y, box_width, box_height (int): The part that is kept.
        pad_left, pad_top (int): Columns and rows of zeros before it.
        padded_width, padded_height (int): Size after padding.
        scale (float): Prepared size over padded size.
        prepared_width, prepared_height (int): Size of the prepared image.
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
    def columns(cls) -> Tuple[str, ...]:
        """Names of the columns of geometry.csv."""
        return tuple(field.name for field in fields(cls))

    @classmethod
    def from_row(cls, row: dict) -> 'Geometry':
        """Read a row of geometry.csv, all of whose values are strings.

        Raises:
            ValueError: If sizes contradict each other, or a value is none.
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
        """tuple[int]: Left, top, width and height of what is kept."""
        return self.x, self.y, self.box_width, self.box_height

    def apply(self, array: np.ndarray, is_label: bool) -> np.ndarray:
        """Crop, pad with zeros and scale an array of the photograph's size.

        Args:
            array (np.ndarray): Image or labels of shape (H, W[, C]).
            is_label (bool): Whether values must not be mixed; they are scaled
                down by ``downscale.scale_labels``, images by area.

        Returns:
            np.ndarray: Array of the prepared size.
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
        """Put a label map of the prepared image back into the photograph.

        Args:
            array (np.ndarray): Labels of shape (prepared height and width).

        Returns:
            np.ndarray: Labels of shape (height, width), 0 outside the box.
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
                  size: Tuple[int, int],
                  box: Optional[Box] = None,
                  square: bool = True,
                  max_side: Optional[int] = None) -> Geometry:
    """Work out crop, padding and scale of one photograph.

    Args:
        name (str): Stem of the photograph.
        size (tuple[int]): Its width and height.
        box (tuple[int], optional): What to keep. Default: everything.
        square (bool): Whether to pad to a square; the odd pixel is at the
            bottom or at the right. Default: True.
        max_side (int, optional): Larger results are scaled down to this.

    Returns:
        Geometry: The geometry.
    """
    x, y, width, height = box or (0, 0, *size)
    padded = (max(width, height), ) * 2 if square else (width, height)
    scale = 1.0
    if max_side and max(padded) > max_side:
        scale = max_side / max(padded)
    prepared = tuple(max(1, round(side * scale)) for side in padded)
    return Geometry(name, *size, x, y, width, height, (padded[0] - width) // 2,
                    (padded[1] - height) // 2, *padded, scale, *prepared)


def find_field_of_view(image: np.ndarray) -> FieldOfView:
    """Find the retina in a fundus photograph.

    Args:
        image (np.ndarray): RGB photograph of shape (H, W, 3), dtype uint8.

    Returns:
        FieldOfView: Box and mask; nothing is raised if none looks right, the
        result then says ``certain=False``.
    """
    first = None
    for foreground in _candidates(image):
        contour = _largest_contour(foreground)
        if contour is None:
            continue
        if _looks_like_retina(contour, image.shape[:2]):
            if first is not None:
                # A dim side is frayed at any threshold; the retina is not.
                contour = cv2.convexHull(contour)
            return _field_of_view(contour, image.shape[:2], True)
        first = contour if first is None else first
    if first is None:
        height, width = image.shape[:2]
        return FieldOfView((0, 0, width, height),
                           np.ones((height, width), np.uint8), False)
    return _field_of_view(first, image.shape[:2], False)


def _candidates(image: np.ndarray) -> Iterator[np.ndarray]:
    """Thresholded images, the published one first."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    yield grey > GREY_THRESHOLD
    # Noise of the black background must not survive a low threshold.
    smooth = cv2.medianBlur(image, 5)
    dark = cv2.cvtColor(smooth, cv2.COLOR_RGB2GRAY)
    for threshold in DARK_THRESHOLDS:
        yield dark > threshold
    # The retina is red; a film scan's background is grey or green.
    for threshold in BRIGHT_THRESHOLDS:
        yield smooth[..., 0] > threshold


def _largest_contour(foreground: np.ndarray) -> Optional[np.ndarray]:
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5))
    dilated = cv2.dilate(foreground.astype(np.uint8), kernel)
    contours, _ = cv2.findContours(dilated, cv2.RETR_EXTERNAL,
                                   cv2.CHAIN_APPROX_NONE)
    if not contours:
        return None
    return max(contours, key=lambda c: max(cv2.boundingRect(c)[2:]))


def _looks_like_retina(contour: np.ndarray, shape: Tuple[int, int]) -> bool:
    """Whether a contour is convex, roundish and large enough.

    A dark side of the retina leaves a dent in the contour, a bright background
    fills the corners of the frame.
    """
    x, y, width, height = cv2.boundingRect(contour)
    if max(width / shape[1], height / shape[0]) < 0.5:
        return False
    hull = cv2.convexHull(contour)
    solidity = cv2.contourArea(contour) / max(cv2.contourArea(hull), 1.0)
    fill = cv2.contourArea(hull) / max((width - 1) * (height - 1), 1)
    cut_at_sides = x == 0 or x + width == shape[1]
    # A circle that is cut above and below only gets wider than high.
    roundish = cut_at_sides or width > 0.985 * height
    return solidity > 0.97 and 0.7 < fill < 0.96 and roundish


def _field_of_view(contour: np.ndarray, shape: Tuple[int, int],
                   certain: bool) -> FieldOfView:
    mask = np.zeros(shape, np.uint8)
    cv2.drawContours(mask, [contour], -1, 1, thickness=cv2.FILLED)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5))
    # Takes back the dilation, which the box keeps as published.
    mask = cv2.erode(mask, kernel)
    return FieldOfView(tuple(cv2.boundingRect(contour)), mask, certain)
