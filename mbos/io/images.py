"""Image headers: believed up to a limit, before anything is decoded.

A file of 100 bytes may claim 60000 x 60000 pixels, for which a decoder would
allocate 10 GB.
"""
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import BinaryIO

from PIL import Image, UnidentifiedImageError

from .errors import RefusedError
from .paths import FilePath, check_regular

FORMATS = ('JPEG', 'PNG', 'TIFF', 'BMP', 'GIF', 'PPM', 'WEBP', 'JPEG2000')
"""tuple[str]: The formats that are read, by Pillow's names. Others start
programs (EPS)."""
VARIABLE = 'MBOS_MAX_IMAGE_PIXELS'
DEFAULT_LIMIT = '256000000'
"""str: Five times the pixels of the largest fundus cameras."""


def check_size(path: FilePath, width: int, height: int) -> None:
    """Refuse what has more pixels than the variable says, or none."""
    limit = os.environ.get(VARIABLE) or DEFAULT_LIMIT
    if not limit.isascii() or not limit.isdecimal():
        raise RefusedError(f'{VARIABLE} is {limit!r}, expected a number of '
                           f'pixels such as {DEFAULT_LIMIT}.')
    if not 0 < width * height <= int(limit):
        raise RefusedError(
            f'{os.fspath(path)}: its header claims {width}x{height} pixels, '
            f'expected 1 to {limit}; the file is damaged or made to exhaust '
            f'memory. If it is as large as that, set {VARIABLE}.')


@contextmanager
def refusing(path: FilePath) -> Iterator[None]:
    """Turns what decoders raise into one sentence about the file."""
    try:
        yield
    except RefusedError:
        raise
    except Exception as error:  # decoders raise many kinds on bad bytes
        reason = f'cannot be read ({error}); is it complete? Copy it again'
        if isinstance(error, FileNotFoundError):
            reason = 'no such file'
        elif isinstance(error, UnidentifiedImageError):
            reason = f'is not a picture ({", ".join(FORMATS)}): empty, ' \
                'damaged, or of a kind that is not read, such as a TIFF of ' \
                'floating-point colours; copy it, or export it again with 8 ' \
                'or 16 bits'
        raise RefusedError(f'{os.fspath(path)}: {reason}.') from error


@contextmanager
def open_image(path: FilePath,
               stream: BinaryIO | None = None,
               formats: Sequence[str] = FORMATS) -> Iterator[Image.Image]:
    """Open an image of a size that is allowed, which is not decoded yet. What
    is wrong with it, or found so while it is open, is refused.

    Where there is a ``stream`` to read instead of the file, the path is a
    name for errors.
    """
    Image.MAX_IMAGE_PIXELS = None  # Pillow has other limits
    with refusing(path):
        if stream is None:
            check_regular(path)
        with Image.open(stream or path, formats=formats) as image:
            check_size(path, *image.size)
            yield image
