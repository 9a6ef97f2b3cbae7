"""The one reader of photographs: any format, depth, channels and rotation.

Preparation, training, validation and prediction all read with it, so that a
file is the same picture everywhere: upright, RGB, 8 bits.
"""
import io
import os
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from PIL import Image

from .untrusted import (RefusedError, check_regular, check_size, open_image,
                        refusing)

SUFFIXES = ('.jpg', '.jpeg', '.jpe', '.jfif', '.png', '.tif', '.tiff', '.bmp',
            '.ppm', '.pgm', '.pnm', '.gif', '.webp', '.jp2', '.j2k', '.jpx',
            '.dcm', '.dicom')
"""tuple[str]: What is taken for a photograph when a folder is searched, in
lower case."""
ORIENTATION = 0x0112
LATE_EXIF = re.compile(rb'eXIf((?:II\*\0|MM\0\*).*)', re.DOTALL)
DEPTHS = (8, 10, 12, 14, 16, 32)
COLOURLESS = 3  # grey values by which channels differ after compression
JPEG_MODES = ('L', 'RGB', 'YCbCr')
"""Those of JPEGs that OpenCV reads as Pillow does, and faster."""
PNG_EXIF = {'exif', 'Raw profile type exif'}
START_OF_SCAN, END_OF_IMAGE = b'\xff\xda', b'\xff\xd9'
TIFF_BITS, TIFF_PHOTOMETRIC, TIFF_PLANES = 258, 262, 284


@dataclass(frozen=True)
class Layout:
    """How a photograph is stored: height and width of the stored pixels, and
    EXIF's number of the orientation, 1 where the file has none.
    """
    stored: tuple[int, int]
    orientation: int = 1

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width when upright."""
        return self.stored[::-1] if self.orientation > 4 else self.stored

    def turn(self, stored: np.ndarray) -> np.ndarray:
        """Make stored pixels upright, as EXIF defines the orientations."""
        pixels = stored.swapaxes(0, 1) if self.orientation > 4 else stored
        rows = -1 if self.orientation in (3, 4, 7, 8) else 1
        columns = -1 if self.orientation in (2, 3, 6, 7) else 1
        return pixels[::rows, ::columns]

    def turn_mask(self, mask: np.ndarray) -> np.ndarray:
        """Make a mask (H, W) of the photograph upright.

        It turns with the stored pixels, unless its shape shows that it was
        drawn on the upright picture, or fits neither.
        """
        if mask.shape[:2] != self.stored:
            return mask
        return np.ascontiguousarray(self.turn(mask))


@dataclass(frozen=True)
class Photograph:
    """A photograph as it is meant to be looked at: RGB of shape (H, W, 3),
    dtype uint8, upright, and what was done besides decoding, such as the
    reduction of 16 bits.
    """
    image: np.ndarray
    notes: tuple[str, ...] = ()


class EncodedPhotograph:
    """A photograph's file in memory, whose ``layout`` is known before it is
    decoded; where it ``can_reduce``, decoding a smaller image saves time.

    Where there is ``content`` to decode instead of the file, the path is a
    name for errors: ``RefusedError`` for what is missing, empty, not a
    picture, or claims an absurd size.
    """

    def __init__(self, path: str | os.PathLike, content: bytes | None = None):
        self.path = os.fspath(path)
        with refusing(self.path):
            if content is None:
                check_regular(self.path)
                with open(self.path, 'rb') as file:
                    content = file.read()
            self._content = content
            self.layout, self._kind = _read_header(self.path, content)
        # OpenCV fills up the rest of a truncated JPEG without a word.
        self._is_whole_jpeg = self._kind == 'JPEG' and content.rfind(
            END_OF_IMAGE) > content.rfind(START_OF_SCAN)
        self.can_reduce = self._is_whole_jpeg and self.layout.orientation == 1

    def read(self, factor: int = 1, bgr: bool = False) -> Photograph:
        """Decode the photograph upright; its sides are divided by a factor of
        1, 2, 4 or 8 and rounded up, channels in mmcv's order if asked.

        JPEG is made of blocks of 8x8 pixels, of which it can decode the
        means of 2x2, 4x4 or 8x8 pixels in less time than all of them.
        """
        notes, layout, image = [], self.layout, None
        with refusing(self.path):
            if self._is_whole_jpeg:
                name = f'REDUCED_COLOR_{factor}' if factor > 1 else 'COLOR'
                flag = getattr(cv2, f'IMREAD_{name}')
                image = cv2.imdecode(
                    np.frombuffer(self._content, np.uint8),
                    flag | cv2.IMREAD_IGNORE_ORIENTATION)
            if image is None:
                image = _stored_pixels(self.path, self._kind, self._content)
                image = image[::factor, ::factor]
                image = image[..., ::-1] if bgr and image.ndim == 3 else image
            elif not bgr:
                image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB, dst=image)
        if self._kind != 'TIFF':  # Pillow and OpenCV turn these
            image = layout.turn(image)
        if layout.orientation > 1:
            notes = [f'turned upright (EXIF orientation {layout.orientation})']
        image, depth = to_8_bits(image)
        if depth > 8:
            notes.append(f'{depth} bits reduced to 8')
        if image.ndim == 2:
            image = np.repeat(image[..., None], 3, axis=2)
        return Photograph(np.ascontiguousarray(image), tuple(notes))


def read_photograph(path: str | os.PathLike) -> Photograph:
    """Read a photograph: a file of ``mbos.io.FORMATS``, or DICOM where pydicom
    is installed; of several pages the first.

    Greyscale becomes three equal channels, transparency is dropped, and more
    than 8 bits are reduced to 8: the smallest of 8, 10, 12, 14 and 16 bits
    that holds the brightest value counts as the depth of the camera.
    """
    return EncodedPhotograph(path).read()


def read_layout(path: str | os.PathLike) -> Layout:
    """Read the size and orientation of a photograph, which is not decoded."""
    return EncodedPhotograph(path).layout


def _read_header(path: str, content: bytes) -> tuple[Layout, str]:
    """How a photograph is stored, and in which format: Pillow's name, 'DICOM',
    or '' for a JPEG that OpenCV does not read as Pillow does.
    """
    if content[128:132] == b'DICM':
        header = _dicom_dataset(path, content, stop_before_pixels=True)
        return Layout((int(header.Rows), int(header.Columns))), 'DICOM'
    with open_image(path, io.BytesIO(content)) as image:
        size, kind = image.size, image.format
        if kind == 'TIFF':  # Pillow's size is that of the turned image
            exif = image.tag_v2
            size = exif[256], exif[257]
        elif kind == 'PNG' and not image.info.keys() & PNG_EXIF:
            # it may be at the end, for which Pillow would decode all of it
            late = LATE_EXIF.search(content, max(0, len(content) - 2**16))
            exif = Image.Exif()
            exif.load(b'Exif\0\0' + late[1] if late else b'')
        else:
            exif = image.getexif()
        if kind in ('JPEG', 'MPO'):
            kind = 'JPEG' if image.mode in JPEG_MODES else ''
        orientation = exif.get(ORIENTATION)
    orientation = orientation if orientation in range(1, 9) else 1
    return Layout(size[::-1], orientation), kind


def _stored_pixels(path: str, kind: str, content: bytes) -> np.ndarray:
    """Grey (H, W) or RGB (H, W, 3), of any depth."""
    if kind == 'DICOM':
        return _dicom_pixels(path, content)
    with open_image(path, io.BytesIO(content)) as image:
        tags = getattr(image, 'tag_v2', {})
        if tags.get(TIFF_PLANES) == 2 and max(tags.get(TIFF_BITS, [8])) > 8:
            raise RefusedError(
                f'{path}: has more than 8 bits and its colours one after '
                'another (a planar TIFF), which no decoder reads right; '
                'export the photograph again.')
        # before it is loaded, which forgets how it was stored
        deep = image.format in ('JPEG2000', 'PPM') or ';16' in str(image.tile)
        image.load()
        if image.mode.startswith(('I', 'F')):
            values = np.asarray(image)
            if values.dtype == np.uint16 and tags.get(TIFF_PHOTOMETRIC) == 0:
                return 65535 - values  # Pillow minds 8 bits only
            return values
        if deep:
            # Pillow keeps the upper 8 of 16 bits, all dark for 12-bit data
            found = cv2.imdecode(
                np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
            if found is not None and found.ndim == 3 and found.itemsize == 2:
                return found[..., 2::-1]
        is_grey = image.mode in ('1', 'L', 'LA', 'La')
        return np.asarray(image.convert('L' if is_grey else 'RGB'))


def _dicom_dataset(path: str, content: bytes, **options: bool) -> Any:
    """Read what pydicom reads, with its options."""
    try:
        import pydicom
    except ImportError as error:
        raise RefusedError(
            f'{path}: is a DICOM file, which needs pydicom; install it with '
            "pip install 'mbos[dicom]', or export the photograph as PNG."
        ) from error
    dataset = pydicom.dcmread(io.BytesIO(content), **options)
    check_size(path, dataset.get('Columns', 0), dataset.get('Rows', 0))
    return dataset


def _dicom_pixels(path: str, content: bytes) -> np.ndarray:
    """Read the first frame, grey (H, W) or RGB (H, W, 3); of more than 8 bits
    as shares of white, float32, since the file says how many the camera has.
    """
    from pydicom.pixels import apply_color_lut, pixel_array
    dataset = _dicom_dataset(path, content)
    values = pixel_array(dataset, index=0)
    kind, bits = dataset.PhotometricInterpretation, int(dataset.BitsStored)
    if kind == 'PALETTE COLOR':
        values = apply_color_lut(values, dataset)
        bits = values.dtype.itemsize * 8
    if values.dtype.kind == 'i':
        values = values.astype(np.int64) + 2**(bits - 1)
    if kind == 'MONOCHROME1':  # white is 0
        values = 2**bits - 1 - values
    if bits <= 8:
        return values.astype(np.uint8)
    return values.astype(np.float32) / (2**bits - 1)


def to_8_bits(values: np.ndarray) -> tuple[np.ndarray, int]:
    """Reduce a picture to 8 bits, of floats those up to 1 as shares of white;
    returns it and the depth that it was taken to have, 0 if it was uint8.
    """
    if values.dtype == np.uint8:
        return values, 0
    is_share = values.dtype.kind == 'f'
    values = np.nan_to_num(values.astype(np.float32), posinf=0, neginf=0)
    brightest = float(values.max(initial=0))
    if is_share and 0 < brightest <= 1:
        values, brightest = values * 65535, 65535
    depth = next(d for d in DEPTHS if brightest < 2**d or d == DEPTHS[-1])
    scale = 255 / brightest if depth > 16 else 2.0**(8 - depth)
    return (values * scale).clip(0, 255).astype(np.uint8), depth


def is_colourless(image: np.ndarray) -> bool:
    """Whether an RGB picture is grey throughout, within compression noise."""
    channels = cv2.split(np.ascontiguousarray(image[::4, ::4]))
    spread = np.maximum.reduce(channels) - np.minimum.reduce(channels)
    return bool(spread.max(initial=0) <= COLOURLESS)


def is_photograph_name(name: str) -> bool:
    """Whether a visible file is called like a photograph."""
    return not name.startswith('.') and name.lower().endswith(SUFFIXES)


def count_kinds(names: Iterable[str]) -> str:
    """Count files by suffix, such as ``'2 .heic, 1 .txt'``."""
    suffixes = (os.path.splitext(name)[1].lower() for name in names)
    kinds = Counter(sorted(s or 'without a suffix' for s in suffixes))
    return ', '.join(f'{count} {kind}' for kind, count in kinds.most_common())
