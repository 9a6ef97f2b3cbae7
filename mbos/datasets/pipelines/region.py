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
        ratio = min(n / m for n, m in zip(self.source, self.size))
        return next((factor for factor in (8, 4, 2) if factor <= ratio), 1)

    def sample_image(self, image: np.ndarray, factor: int = 1) -> np.ndarray:
        """Interpolate the box bilinearly from an image of shape ``source``, or
        decoded ``factor`` times smaller, with sides rounded up.
        """
        down, right = np.divide(self.source, self.size) / factor
        # centres of pixels lie half a pixel from their borders
        y, x = (np.array(self.box[::2]) + 0.5) * (down, right) - 0.5
        top, left = max(int(y), 0), max(int(x), 0)
        matrix = np.array([[right, 0, x - left], [0, down, y - top]])
        return cv2.warpAffine(
            image[top:, left:],
            matrix,
            self.shape[::-1],
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE)

    def sample_labels(self, labels: np.ndarray) -> np.ndarray:
        """Take the nearest label of each pixel of the box."""
        top, bottom, left, right = self.box
        rows = _nearest(self.source[0], self.size[0], top, bottom)
        columns = _nearest(self.source[1], self.size[1], left, right)
        return np.asarray(labels[rows])[:, columns]


def _nearest(source: int, size: int, first: int, last: int) -> np.ndarray:
    """The pixels of an axis that cv2.resize(INTER_NEAREST) takes."""
    # written as OpenCV does, since x / (b / a) and x * a / b round apart
    index = np.floor(np.arange(first, last) * (1 / (size / source)))
    return np.minimum(index.astype(np.int64), source - 1)
