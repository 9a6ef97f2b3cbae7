"""Reading photographs as people have them: any format, depth and rotation."""
import io
from dataclasses import dataclass
from typing import Optional, Tuple

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from mbos.io import FORMATS, RefusedError, check_regular, open_image

SUFFIXES = ('.jpg', '.jpeg', '.jpe', '.jfif', '.png', '.tif', '.tiff', '.bmp',
            '.ppm', '.pgm', '.pnm')
"""tuple[str]: What is taken for a photograph when a folder is searched."""
DEPTHS = (8, 10, 12, 14, 16)
ORIENTATION = 0x0112
TURNS = {
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a, 1)
}
"""dict[int, Callable]: What makes a picture of an EXIF orientation upright."""
COLOURLESS = 3
"""Largest difference of two colour channels of a photograph without colour,
in grey values; compression makes some."""


class PhotographError(ValueError):
    """A file is not a photograph that can be read; the message says why."""


@dataclass(frozen=True)
class Photograph:
    """A photograph as it is meant to be looked at.

    Attributes:
        image (ndarray): RGB, shape (H, W, 3), dtype uint8, upright: the
            orientation that the camera noted in EXIF is applied.
        notes (tuple[str]): What was done besides decoding, such as the
            reduction of 16 bits.
    """

    image: np.ndarray
    notes: Tuple[str, ...] = ()


def read_photograph(path: str) -> Photograph:
    """Read a photograph.

    Greyscale becomes three equal channels, transparency is dropped, and more
    than 8 bits are reduced to 8: the smallest of 8, 10, 12, 14 and 16 bits
    that holds the brightest value counts as the depth of the camera.

    Args:
        path (str): JPEG, PNG, TIFF, BMP, PPM or GIF; of several pages the
            first.

    Returns:
        Photograph: The photograph and notes.

    Raises:
        PhotographError: If it is missing, empty, truncated, or no picture.
    """
    try:
        check_regular(path)
        with open(path, 'rb') as file:
            content = file.read()
        return _decode(path, content)
    except RefusedError as error:
        raise PhotographError(str(error)) from error
    except UnidentifiedImageError as error:
        raise PhotographError(
            f'{path}: is no picture ({", ".join(FORMATS)}), whatever its name '
            'says; export the photograph again.') from error
    except FileNotFoundError as error:
        raise PhotographError(f'{path}: no such file.') from error
    except Exception as error:  # Pillow raises many kinds on bad bytes
        raise PhotographError(f'{path}: cannot be read ({error}); is it '
                              'complete? Copy it again.') from error


def _decode(path: str, content: bytes) -> Photograph:
    notes = []
    with open_image(path, io.BytesIO(content)) as opened:
        # before getexif, which decodes PNGs
        deep = ';16' in str(opened.tile) and opened.mode == 'RGB'
        orientation = opened.getexif().get(ORIENTATION, 1)
        opened.load()
        # Pillow and OpenCV turn TIFFs by themselves, and nothing else
        left = opened.getexif().get(ORIENTATION, 1)
        # Pillow would keep the upper 8 of 16 bits, all dark for 12-bit data
        image = _deep_colours(content) if deep else None
        if image is None:
            image = _as_array(opened)
    if orientation in TURNS:
        notes.append(f'turned upright (EXIF orientation {orientation})')
    if left in TURNS:
        image = TURNS[left](image)
    image, depth = to_8_bits(image)
    if depth:
        notes.append(f'{depth} bits reduced to 8')
    if image.ndim == 2:
        image = np.repeat(image[..., None], 3, axis=2)
    return Photograph(np.ascontiguousarray(image), tuple(notes))


def _deep_colours(content: bytes) -> Optional[np.ndarray]:
    """16-bit RGB, (H, W, 3); None where OpenCV does not read it."""
    try:
        image = cv2.imdecode(
            np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        return None
    if image is None or image.ndim != 3 or image.dtype != np.uint16:
        return None
    return image[..., 2::-1]


def _as_array(image: Image.Image) -> np.ndarray:
    """Values of a picture, grey (H, W) or RGB (H, W, 3)."""
    if image.mode in ('1', 'L', 'LA', 'La'):
        return np.asarray(image.convert('L'))
    if image.mode.startswith(('I', 'F')):
        return np.asarray(image)
    return np.asarray(image.convert('RGB'))


def to_8_bits(values: np.ndarray) -> Tuple[np.ndarray, int]:
    """Reduce a picture to 8 bits.

    Args:
        values (ndarray): Of any shape; uint8, wider integers, or floats, of
            which those up to 1 are taken for shares of white.

    Returns:
        tuple[ndarray, int]: The picture, uint8, and the depth that it was
        taken to have; 0 if it was uint8.
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
    sample = image[::4, ::4].astype(np.int16)
    return bool((sample.max(axis=2) -
                 sample.min(axis=2)).max(initial=0) <= COLOURLESS)
