"""Photographs that tell their size before they are decoded."""
import io
from typing import Tuple

import cv2
import mmcv
import numpy as np

from mbos.io import RefusedError, check_regular, open_image

ORIENTATION = 274
"""int: The tag of EXIF that says how a photograph is turned."""
UPRIGHT = (0, 1)
REDUCED = {
    2: cv2.IMREAD_REDUCED_COLOR_2,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    8: cv2.IMREAD_REDUCED_COLOR_8
}


class Photograph:
    """An encoded photograph.

    Args:
        path (str): The file.

    Raises:
        ValueError: If it is no image, or claims an absurd size.
    """

    def __init__(self, path: str):
        self.path = path
        check_regular(path)
        with open(path, 'rb') as file:
            self._content = file.read()
        try:
            with open_image(path, io.BytesIO(self._content)) as image:
                width, height = image.size
                self._is_jpeg = image.format == 'JPEG'
                turned = image.getexif().get(ORIENTATION, UPRIGHT[0])
        except RefusedError:
            raise
        except Exception as error:  # a damaged file may provoke any of them
            raise ValueError(f'{path}: cannot be read as an image ({error}); '
                             'copy or prepare it again.') from error
        self.is_upright = turned in UPRIGHT
        # as OpenCV decodes it: 5 to 8 are turned by a quarter
        self.shape: Tuple[int, int] = ((width, height) if turned >= 5 else
                                       (height, width))

    def decode(self, factor: int = 1) -> np.ndarray:
        """Decode the photograph, smaller if asked.

        JPEG is made of blocks of 8x8 pixels, of which it can decode the
        means of 2x2, 4x4 or 8x8 pixels in less time than all of them.

        Args:
            factor (int): Divides the sides, which are rounded up; 1, 2, 4 or
                8. Only 1 where :attr:`can_reduce` is false. Default: 1.

        Returns:
            ndarray: Image of shape (H, W, 3) in BGR, dtype uint8.
        """
        if factor == 1:
            image = mmcv.imfrombytes(self._content, flag='color')
        else:
            image = cv2.imdecode(
                np.frombuffer(self._content, np.uint8), REDUCED[factor])
        if image is None:
            raise ValueError(f'{self.path}: cannot be decoded; copy or '
                             'prepare it again.')
        return image

    @property
    def can_reduce(self) -> bool:
        """Whether decoding a smaller image saves time."""
        return self._is_jpeg and self.is_upright
