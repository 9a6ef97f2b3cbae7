"""How a photograph is stored, and what makes it upright."""
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
from PIL import Image

ORIENTATION = 0x0112
UPRIGHT = 1
TURNS: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a, 1)
}
"""dict[int, Callable]: What makes a picture of an EXIF orientation upright."""
QUARTER_TURNS = (5, 6, 7, 8)


@dataclass(frozen=True)
class Layout:
    """How a photograph is stored: height and width of the stored pixels, and
    EXIF's number of the orientation, 1 where the file has none.
    """

    stored: tuple[int, int]
    orientation: int = UPRIGHT

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width when upright."""
        if self.orientation in QUARTER_TURNS:
            return self.stored[::-1]
        return self.stored

    @property
    def is_upright(self) -> bool:
        """Whether the stored pixels need no turn."""
        return self.orientation not in TURNS

    def turn(self, stored: np.ndarray) -> np.ndarray:
        """Make stored pixels upright."""
        return TURNS.get(self.orientation, lambda a: a)(stored)

    def turn_mask(self, mask: np.ndarray) -> np.ndarray:
        """Make a mask (H, W) of the photograph upright.

        A mask belongs to the stored pixels and turns with them, unless its
        shape shows that it was drawn on the upright picture. One that fits
        neither way is returned as it is.
        """
        if mask.shape[:2] != self.stored:
            return mask
        return np.ascontiguousarray(self.turn(mask))


def layout_of(image: Image.Image, stream: BinaryIO) -> Layout:
    """Size and orientation of an image that is not decoded yet."""
    width, height = image.size
    if image.format == 'TIFF':  # Pillow's size is that of the turned image
        width, height = image.tag_v2[256], image.tag_v2[257]
        orientation = image.tag_v2.get(ORIENTATION, UPRIGHT)
    elif image.format == 'PNG' and not image.info.keys() & {
            'exif', 'Raw profile type exif'
    }:  # Pillow would decode all of it to look behind the pixels
        exif = Image.Exif()
        exif.load(_late_exif(stream))
        orientation = exif.get(ORIENTATION, UPRIGHT)
    else:
        orientation = image.getexif().get(ORIENTATION, UPRIGHT)
    return Layout((height, width),
                  orientation if orientation in TURNS else UPRIGHT)


def _late_exif(stream: BinaryIO) -> bytes:
    """EXIF behind the pixels of a PNG, empty if there is none."""
    place = stream.tell()
    stream.seek(8)
    try:
        while True:
            head = stream.read(8)
            if len(head) < 8:
                return b''
            length = int.from_bytes(head[:4], 'big')
            if head[4:] == b'eXIf':
                return b'Exif\0\0' + stream.read(min(length, 1 << 16))
            stream.seek(length + 4, os.SEEK_CUR)
    finally:
        stream.seek(place)
