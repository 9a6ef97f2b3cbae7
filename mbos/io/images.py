"""Image headers: believed up to a limit, before anything is decoded.

A file of 100 bytes may claim 60000 x 60000 pixels, for which a decoder would
allocate 10 GB. Pillow reads the header alone here, also for files that OpenCV
decodes afterwards.
"""
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
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
    """The most pixels that an image may have: the variable, or 256 million.

    Raises:
        RefusedError: If ``MBOS_MAX_IMAGE_PIXELS`` is not a positive number.
    """
    text = os.environ.get(VARIABLE, '')
    if not text:
        return DEFAULT_MAX_PIXELS
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
    file, the path is a name for errors.

    Raises:
        RefusedError: If it is too large, or not a regular file.
        OSError: If it is missing or not an image of these formats.
    """
    limit = max_image_pixels()
    # Pillow's own limit is lower; it raises an error at twice its number.
    Image.MAX_IMAGE_PIXELS = limit
    if stream is None:
        check_regular(path)
    if 'WEBP' in formats:
        _check_webp(path, stream, limit)
    try:
        image = Image.open(stream or path, formats=formats)
    except Image.DecompressionBombError as error:
        claim = str(error).split(' exceeds')[0]
        raise RefusedError(_too_large(path, claim, limit)) from error
    with image:
        _check_size(path, image.size, limit)
        yield image


def _check_webp(path: FilePath, stream: BinaryIO | None, limit: int) -> None:
    """Look at a WebP's size, for which Pillow allocates when it opens it."""
    with open(path, 'rb') if stream is None else nullcontext(stream) as file:
        place = file.tell()
        head = file.read(30)
        file.seek(place)
    if head[:4] == b'RIFF' and head[8:12] == b'WEBP':
        _check_size(path, _webp_size(head), limit)


def _check_size(path: FilePath, size: tuple[int, int], limit: int) -> None:
    if size[0] * size[1] > limit:
        raise RefusedError(
            _too_large(path, f'{size[0]}x{size[1]} pixels', limit))


def _webp_size(head: bytes) -> tuple[int, int]:
    """Width and height of the three kinds of WebP; 0 of any other."""
    kind = head[12:16]
    if kind == b'VP8X':
        return (int.from_bytes(head[24:27], 'little') + 1,
                int.from_bytes(head[27:30], 'little') + 1)
    if kind == b'VP8L':
        bits = int.from_bytes(head[21:25], 'little')
        return (bits & 0x3fff) + 1, (bits >> 14 & 0x3fff) + 1
    if kind == b'VP8 ':
        return (int.from_bytes(head[26:28], 'little') & 0x3fff,
                int.from_bytes(head[28:30], 'little') & 0x3fff)
    return 0, 0


def check_image_header(path: FilePath,
                       formats: Sequence[str] = FORMATS) -> tuple[int, int]:
    """Check an image's header without decoding it: its width and height.

    Call it before a reader that trusts headers, such as ``cv2.imread``.

    Raises:
        RefusedError: If it is too large, not an image of these formats, or not
            a regular file; the message names the file and the remedy.
        FileNotFoundError: If there is no such file.
    """
    try:
        with open_image(path, formats=formats) as image:
            return image.size
    except (FileNotFoundError, RefusedError):
        raise
    except Exception as error:  # a damaged file may provoke any of them
        raise RefusedError(
            f'{os.fspath(path)}: the image cannot be read ({error}); expected '
            f'a whole file of {", ".join(formats)}: copy it again.') from error


def _too_large(path: FilePath, claim: str, limit: int) -> str:
    return (f'{os.fspath(path)}: its header claims {claim}, more than the '
            f'{limit} pixels allowed; the file is damaged or made to exhaust '
            f'memory. If it is as large as that, set {VARIABLE}.')
