"""The one reader of photographs: any format, depth, channels and rotation.

Preparation, training, validation and prediction all read with it, so that a
file is the same picture everywhere: upright, RGB, 8 bits.
"""
import io
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import BinaryIO

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from . import dicom
from .errors import RefusedError
from .images import FORMATS, open_image
from .layout import TURNS, Layout, layout_of
from .paths import check_regular

SUFFIXES = ('.jpg', '.jpeg', '.jpe', '.jfif', '.png', '.tif', '.tiff', '.bmp',
            '.ppm', '.pgm', '.pnm', '.gif', '.webp', '.jp2', '.j2k', '.jpx',
            *dicom.SUFFIXES)
"""tuple[str]: What is taken for a photograph when a folder is searched, in
lower case."""
DEPTHS = (8, 10, 12, 14, 16)
REDUCED = {
    2: cv2.IMREAD_REDUCED_COLOR_2,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    8: cv2.IMREAD_REDUCED_COLOR_8
}
COLOURLESS = 3
"""Largest difference of two colour channels of a photograph without colour,
in grey values; compression makes some."""
GREY_MODES = ('1', 'L', 'LA', 'La')
JPEG_MODES = ('L', 'RGB', 'YCbCr')
"""tuple[str]: Modes of JPEGs that OpenCV reads as Pillow does, and faster."""
START_OF_SCAN, END_OF_IMAGE = b'\xff\xda', b'\xff\xd9'
TIFF_STARTS = (b'II*\0', b'MM\0*', b'II+\0', b'MM\0+')
TIFF_BITS, TIFF_PHOTOMETRIC, TIFF_PLANES = 258, 262, 284
JPEG2000_SIZE = re.compile(rb'\xff\x4f\xff\x51.{38}(.)', re.DOTALL)
"""re.Pattern: The part of its header that says the depth, less one."""

__all__ = [
    'TURNS', 'EncodedPhotograph', 'Layout', 'Photograph', 'PhotographError',
    'count_kinds', 'is_colourless', 'is_photograph_name', 'read_layout',
    'read_photograph', 'to_8_bits'
]


def is_photograph_name(name: str) -> bool:
    """Whether a visible file is called like a photograph."""
    return not name.startswith('.') and name.lower().endswith(SUFFIXES)


def count_kinds(names: Iterable[str]) -> str:
    """Count files by suffix, such as ``'2 .heic, 1 .txt'``, for a message
    about those left out; empty if there are none.
    """
    kinds = Counter(
        os.path.splitext(name)[1].lower() or 'without a suffix'
        for name in names)
    order = sorted(kinds.items(), key=lambda item: (-item[1], item[0]))
    return ', '.join(f'{count} {kind}' for kind, count in order)


class PhotographError(RefusedError):
    """A file is not a photograph that can be read; the message says why."""


@dataclass(frozen=True)
class Photograph:
    """A photograph as it is meant to be looked at.

    Attributes:
        image: RGB, shape (H, W, 3), dtype uint8, upright: the orientation
            that the camera noted in EXIF is applied.
        notes: What was done besides decoding, such as the reduction of 16
            bits.
    """

    image: np.ndarray
    notes: tuple[str, ...] = ()


class EncodedPhotograph:
    """A photograph's file in memory, whose size is known before decoding.

    Where there is ``content`` to decode instead of the file, the path is a
    name for errors.

    Raises:
        PhotographError: If it is missing, empty, not a picture, or claims an
            absurd size.
    """

    def __init__(self, path: str | os.PathLike, content: bytes | None = None):
        self.path = os.fspath(path)
        with _errors(self.path):
            if content is None:
                check_regular(self.path)
                with open(self.path, 'rb') as file:
                    content = file.read()
            self._content = content
            self.layout, self._kind = _read_header(self.path,
                                                   io.BytesIO(content))

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width when upright."""
        return self.layout.shape

    @cached_property
    def _is_whole_jpeg(self) -> bool:
        """OpenCV fills up the rest of a truncated JPEG without a word."""
        return self._kind == 'JPEG' and self._content.rfind(
            END_OF_IMAGE) > self._content.rfind(START_OF_SCAN)

    @property
    def can_reduce(self) -> bool:
        """Whether decoding a smaller image saves time."""
        return self._is_whole_jpeg and self.layout.is_upright

    def decode(self, factor: int = 1, bgr: bool = False) -> np.ndarray:
        """Decode the photograph upright, (H, W, 3) uint8, smaller if asked.

        JPEG is made of blocks of 8x8 pixels, of which it can decode the
        means of 2x2, 4x4 or 8x8 pixels in less time than all of them.

        Args:
            factor: Divides the sides, which are rounded up; 1, 2, 4 or 8.
                Only 1 where :attr:`can_reduce` is false.
            bgr: Whether channels are in mmcv's order instead of RGB.

        Raises:
            PhotographError: If the file is damaged.
        """
        if factor == 1:
            return self.read(bgr).image
        image = self._decode_jpeg(REDUCED[factor], bgr)
        if image is None:
            raise PhotographError(f'{self.path}: cannot be decoded; copy or '
                                  'prepare it again.')
        return image

    def read(self, bgr: bool = False) -> Photograph:
        """Decode the photograph, and say what was done besides.

        Raises:
            PhotographError: If the file is damaged.
        """
        with _errors(self.path):
            image, layout = self._decode_stored(bgr)
        notes = []
        if not self.layout.is_upright:
            notes.append('turned upright (EXIF orientation '
                         f'{self.layout.orientation})')
        image, depth = to_8_bits(layout.turn(image))
        if depth > 8:
            notes.append(f'{depth} bits reduced to 8')
        if image.ndim == 2:
            image = np.repeat(image[..., None], 3, axis=2)
        return Photograph(np.ascontiguousarray(image), tuple(notes))

    def _decode_stored(self, bgr: bool) -> tuple[np.ndarray, Layout]:
        """Decoded pixels, and what is left to do to make them upright."""
        if self._kind == 'DICOM':
            image = dicom.read(self.path, io.BytesIO(self._content))
            return image[..., ::-1] if bgr and image.ndim == 3 else image, \
                self.layout
        if self._is_whole_jpeg:
            image = self._decode_jpeg(cv2.IMREAD_COLOR, bgr)
            if image is not None:
                return image, self.layout
        with open_image(self.path, io.BytesIO(self._content)) as opened:
            # Pillow and OpenCV turn TIFFs by themselves, and nothing else
            turned = opened.format == 'TIFF'
            # before it is loaded, which forgets how it was stored
            is_deep = _has_deep_colours(opened, self._content)
            _refuse_deep_planes(opened, self.path)
            opened.load()
            # Pillow keeps the upper 8 of 16 bits, all dark for 12-bit data
            image = _deep_colours(self._content) if is_deep else None
            if image is None:
                image = _as_array(opened)
                if _is_white_zero(opened) and image.dtype == np.uint16:
                    image = np.iinfo(image.dtype).max - image
        if bgr and image.ndim == 3:
            image = image[..., ::-1]
        return image, Layout(self.shape) if turned else self.layout

    def _decode_jpeg(self, flag: int, bgr: bool) -> np.ndarray | None:
        """Colours as they are stored, None where OpenCV reads nothing."""
        flag |= cv2.IMREAD_IGNORE_ORIENTATION
        image = _imdecode(self._content, flag)
        if image is None or bgr:
            return image
        return cv2.cvtColor(image, cv2.COLOR_BGR2RGB, dst=image)


def read_photograph(path: str | os.PathLike) -> Photograph:
    """Read a photograph: a file of ``mbos.io.FORMATS``, or DICOM where pydicom
    is installed; of several pages the first.

    Greyscale becomes three equal channels, transparency is dropped, and more
    than 8 bits are reduced to 8: the smallest of 8, 10, 12, 14 and 16 bits
    that holds the brightest value counts as the depth of the camera.

    Raises:
        PhotographError: If it is missing, empty, truncated, or not a picture.
    """
    return EncodedPhotograph(path).read()


def read_layout(path: str | os.PathLike) -> Layout:
    """Read the size and orientation of a photograph from its header.

    Raises:
        PhotographError: If it is missing, not a picture, or claims an absurd
            size.
    """
    path = os.fspath(path)
    with _errors(path):
        check_regular(path)
        with open(path, 'rb') as stream:
            return _read_header(path, stream)[0]


def _read_header(path: str, stream: BinaryIO) -> tuple[Layout, str]:
    """How a photograph is stored: 'DICOM', 'JPEG' if OpenCV reads it as Pillow
    does, or ''.
    """
    start = stream.read(dicom.MAGIC_END)
    stream.seek(0)
    if dicom.is_dicom(start):
        return Layout(dicom.shape_of(path, stream)), 'DICOM'
    with open_image(path, stream) as image:
        is_jpeg = image.format in ('JPEG', 'MPO') and image.mode in JPEG_MODES
        return layout_of(image, stream), 'JPEG' if is_jpeg else ''


@contextmanager
def _errors(path: str) -> Iterator[None]:
    """Turns what decoders raise into one sentence about the file."""
    try:
        yield
    except PhotographError:
        raise
    except RefusedError as error:
        raise PhotographError(str(error)) from error
    except UnidentifiedImageError as error:
        if os.path.isfile(path) and not os.path.getsize(path):
            raise PhotographError(
                f'{path}: is empty; copy it again.') from error
        if _is_tiff(path):
            raise PhotographError(
                f'{path}: is a damaged TIFF or one of a kind that is not '
                'read, such as colours of floating-point numbers; export the '
                'photograph with 8 or 16 bits.') from error
        raise PhotographError(
            f'{path}: is not a picture ({", ".join(FORMATS)}), whatever its '
            'name says; export the photograph again.') from error
    except FileNotFoundError as error:
        raise PhotographError(f'{path}: no such file.') from error
    except Exception as error:  # decoders raise many kinds on bad bytes
        raise PhotographError(f'{path}: cannot be read ({error}); is it '
                              'complete? Copy it again.') from error


def _is_tiff(path: str) -> bool:
    if not os.path.isfile(path):  # only a name for content
        return False
    with open(path, 'rb') as file:
        return file.read(4) in TIFF_STARTS


def _has_deep_colours(image: Image.Image, content: bytes) -> bool:
    """Whether an image has colours (or grey with alpha) of over 8 bits."""
    if image.mode.startswith(('I', 'F')):
        return False
    if image.format == 'JPEG2000':
        depth = JPEG2000_SIZE.search(content)
        return bool(depth) and (depth[1][0] & 0x7f) + 1 > 8
    if image.format == 'PPM':
        return any(tile[0] == 'ppm' for tile in image.tile)
    return ';16' in str(image.tile)


def _refuse_deep_planes(image: Image.Image, path: str) -> None:
    """Neither Pillow nor OpenCV reads them right, and neither says so."""
    tags = getattr(image, 'tag_v2', {})
    if tags.get(TIFF_PLANES) == 2 and max(tags.get(TIFF_BITS, (8, ))) > 8:
        raise PhotographError(
            f'{path}: has more than 8 bits and its colours one after another '
            '(a planar TIFF), which is not read; export the photograph again.')


def _is_white_zero(image: Image.Image) -> bool:
    """Whether 0 is white, which Pillow minds in 8 bits only."""
    return getattr(image, 'tag_v2', {}).get(TIFF_PHOTOMETRIC) == 0


def _deep_colours(content: bytes) -> np.ndarray | None:
    """16-bit RGB, (H, W, 3); None where OpenCV does not read it."""
    image = _imdecode(content, cv2.IMREAD_UNCHANGED)
    if image is None or image.ndim != 3 or image.dtype != np.uint16:
        return None
    return image[..., 2::-1]


def _imdecode(content: bytes, flag: int) -> np.ndarray | None:
    try:
        return cv2.imdecode(np.frombuffer(content, np.uint8), flag)
    except cv2.error:
        return None


def _as_array(image: Image.Image) -> np.ndarray:
    """Values of a picture, grey (H, W) or RGB (H, W, 3)."""
    if image.mode in GREY_MODES:
        return np.asarray(image.convert('L'))
    if image.mode.startswith(('I', 'F')):
        return np.asarray(image)
    return np.asarray(image.convert('RGB'))


def to_8_bits(values: np.ndarray) -> tuple[np.ndarray, int]:
    """Reduce a picture of any shape to 8 bits.

    Of floats, those up to 1 are taken for shares of white. Returns the
    picture, uint8, and the depth that it was taken to have; 0 if it was uint8.
    """
    if values.dtype == np.uint8:
        return values, 0
    is_share = values.dtype.kind == 'f'
    values = np.nan_to_num(values.astype(np.float32), posinf=0, neginf=0)
    brightest = float(values.max(initial=0))
    if is_share and 0 < brightest <= 1:
        values, brightest = values * 65535, 65535
    depth = next((d for d in DEPTHS if brightest < 2**d), None)
    if depth is None:
        depth = 32
        scale = 255 / brightest
    else:
        scale = 2.0**(8 - depth)
    return (values * scale).clip(0, 255).astype(np.uint8), depth


def is_colourless(image: np.ndarray) -> bool:
    """Whether an RGB picture is grey throughout, within compression noise."""
    channels = cv2.split(np.ascontiguousarray(image[::4, ::4]))
    return all(
        cv2.absdiff(one, other).max(initial=0) <= COLOURLESS
        for one, other in combinations(channels, 2))
