"""Image headers: believed up to a limit, before anything is decoded.

A file of 100 bytes may claim 60000 x 60000 pixels, for which a decoder would
allocate 10 GB.
"""
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import BinaryIO

from PIL import Image

from .errors import RefusedError
from .paths import FilePath, check_regular

FORMATS = ('JPEG', 'PNG', 'TIFF', 'BMP', 'GIF', 'PPM', 'WEBP', 'JPEG2000')
"""tuple[str]: The formats that are read, by Pillow's names. Others start
programs (EPS)."""
DEFAULT_MAX_PIXELS = 256_000_000
"""int: Five times the largest fundus cameras."""
VARIABLE = 'MBOS_MAX_IMAGE_PIXELS'


def max_image_pixels() -> int:
    """The most pixels that an image may have: the variable, or 256 million."""
    text = os.environ.get(VARIABLE) or str(DEFAULT_MAX_PIXELS)
    if not text.isascii() or not text.isdecimal() or int(text) == 0:
        raise RefusedError(
            f'{VARIABLE} is {text!r}, expected a number of pixels such as '
            f'{DEFAULT_MAX_PIXELS}.')
    return int(text)


@contextmanager
def open_image(path: FilePath,
               stream: BinaryIO | None = None,
               formats: Sequence[str] = FORMATS) -> Iterator[Image.Image]:
    """Open an image whose header claims at most ``max_image_pixels()``.

    It is not decoded yet. Where there is a ``stream`` to read instead of the
    file, the path is a name for errors. Raises Pillow's and the system's
    errors, too.
    """
    limit = max_image_pixels()
    # above it, this check comes before Pillow's, which has other limits
    Image.MAX_IMAGE_PIXELS = None
    if stream is None:
        check_regular(path)
    with Image.open(stream or path, formats=formats) as image:
        width, height = image.size
        if width * height > limit:
            raise RefusedError(
                f'{os.fspath(path)}: its header claims {width}x{height} '
                f'pixels, more than the {limit} allowed; the file is damaged '
                'or made to exhaust memory. If it is as large as that, set '
                f'{VARIABLE}.')
        yield image
