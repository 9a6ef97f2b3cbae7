"""The part of a resized image that a crop needs, without the rest of it."""
from dataclasses import dataclass

import cv2
import numpy as np


@dataclass(frozen=True)
class Region:
    """A box of an image that is resized, without resizing the image.

    What it samples is what ``cv2.resize`` of the whole image and a slice
    give: label maps exactly (nearest pixel), images up to rounding (bilinear,
    at most one grey value).

    ``source`` and ``size`` are height and width of the image and of what it is
    resized to; ``box`` is top, bottom, left and right in the resized image,
    cut off where it lies outside.
    """
    source: tuple[int, int]
    size: tuple[int, int]
    box: tuple[int, int, int, int]

    def __post_init__(self):
        (height, width), (top, bottom, left, right) = self.size, self.box
        box = (top, min(bottom, height), left, min(right, width))
        object.__setattr__(self, 'box', box)

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the box."""
        top, bottom, left, right = self.box
        return bottom - top, right - left

    def reduction(self) -> int:
        """How much smaller the image may be decoded: the largest factor that
        leaves sides of at least ``size``.
        """
        for factor in (8, 4, 2):
            if all(n >= factor * m for n, m in zip(self.source, self.size)):
                return factor
        return 1

    def sample_image(self, image: np.ndarray, factor: int = 1) -> np.ndarray:
        """Interpolate the box bilinearly from an image of shape ``source``, or
        decoded ``factor`` times smaller, with sides rounded up.
        """
        top, bottom, left, right = self.box
        rows, step_y, start_y = _span(self.source[0], self.size[0], top,
                                      bottom, factor, image.shape[0])
        columns, step_x, start_x = _span(self.source[1], self.size[1], left,
                                         right, factor, image.shape[1])
        return cv2.warpAffine(
            image[rows, columns],
            np.array([[step_x, 0, start_x], [0, step_y, start_y]]),
            (right - left, bottom - top),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE)

    def sample_labels(self, labels: np.ndarray) -> np.ndarray:
        """Take the nearest label of each pixel of the box."""
        top, bottom, left, right = self.box
        rows = _nearest(self.source[0], self.size[0], top, bottom)
        columns = _nearest(self.source[1], self.size[1], left, right)
        return np.asarray(labels[rows])[:, columns]


def _span(source: int, size: int, first: int, last: int, factor: int,
          side: int) -> tuple[slice, float, float]:
    """The pixels of an axis that bilinear interpolation reads, the distance of
    two samples, and the first sample's position, counted from the first pixel.
    ``side`` is that of the image decoded ``factor`` times smaller.
    """
    step = source / (size * factor)
    # centres of pixels lie half a pixel from their borders, at every size
    start = (first + 0.5) * step - 0.5
    end = (last - 0.5) * step - 0.5
    low = min(max(int(np.floor(start)), 0), side - 1)
    high = min(int(np.floor(end)) + 2, side)
    return slice(low, max(high, low + 1)), step, start - low


def _nearest(source: int, size: int, first: int, last: int) -> np.ndarray:
    """The pixels of an axis that cv2.resize(INTER_NEAREST) takes."""
    # written as OpenCV does, since x / (b / a) and x * a / b round apart
    index = np.floor(np.arange(first, last) * (1 / (size / source)))
    return np.minimum(index.astype(np.int64), source - 1)
