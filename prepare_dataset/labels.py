"""Reading masks of every encoding, and merging them into label maps.

A reader is a function of paths that returns labels of shape (H, W), dtype
uint8, and a dict of counts worth reporting, such as overlapping pixels. The
values are those of docs/method.md, section 1: 0 is background, 255 never
occurs. ``layout`` is how the photograph is stored: a mask is turned upright
with it and must have its size; without one, any size is good. Masks that
cannot be read or hold other values than they should raise ``PrepareError``.
"""
import gzip
import io
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

import mbos.io
from mbos.io.photographs import (ORIENTATION, EncodedPhotograph, Layout,
                                 read_layout)
from .errors import PrepareError

Labelled = tuple[np.ndarray, dict[str, int]]


def open_image(path: Path) -> Image.Image:
    """Read the first frame of a file completely: an image of
    ``mbos.io.FORMATS``, or a packed PPM.
    """
    try:
        if path.suffix != '.gz':
            with mbos.io.open_image(path) as image:
                return _loaded(image)
        # A PPM is read from its start, so no more is unpacked than its header
        # claims, whatever the archive holds.
        mbos.io.check_regular(path)
        with gzip.open(path) as file, \
                mbos.io.open_image(path, file, ('PPM', )) as image:
            return _loaded(image)
    except mbos.io.RefusedError:
        raise
    except FileNotFoundError:
        raise PrepareError(f'{path}: the file is missing; unpack the archive '
                           'of this collection again.') from None
    except Exception as error:  # Pillow raises many kinds on bad bytes.
        raise PrepareError(
            f'{path}: cannot be read ({error}): is it complete? Download or '
            'unpack it again, or remove it together with its masks.'
        ) from error


def _loaded(image: Image.Image) -> Image.Image:
    copy = image.copy()
    copy.format = image.format
    return copy


def open_photograph(path: Path) -> EncodedPhotograph:
    """Read a photograph's file, which may be a packed PPM."""
    if path.suffix != '.gz':
        return EncodedPhotograph(path)
    packed = io.BytesIO()
    open_image(path).save(packed, format='PPM')
    return EncodedPhotograph(path, packed.getvalue())


def _open_mask(path: Path, layout: Layout | None) -> Image.Image:
    image = open_image(path)
    if layout is None:
        return image
    if not layout.is_upright:
        own = read_layout(path)
        if own.is_upright and image.size == layout.stored[::-1]:
            image = _upright(image, layout.orientation)
        elif not own.is_upright and image.format != 'TIFF':
            image = _upright(image, own.orientation)
    if image.size != layout.shape[::-1]:
        height, width = layout.shape
        raise PrepareError(
            f'{path}: the mask is {image.size[0]}x{image.size[1]}, its '
            f'photograph {width}x{height}; both must come from the same '
            'release of the collection, unscaled.')
    return image


def _upright(image: Image.Image, orientation: int) -> Image.Image:
    image.getexif()[ORIENTATION] = orientation
    return ImageOps.exif_transpose(image)


def _palette(image: Image.Image) -> np.ndarray:
    return np.array(image.getpalette('RGB'), np.uint8).reshape(-1, 3)


def _unexpected(path: Path, expected: str, found: Sequence[int],
                remedy: str) -> PrepareError:
    shown = ', '.join(map(str, found[:8])) + (', ...' * (len(found) > 8))
    return PrepareError(
        f'{path}: expected {expected}, found {shown}; {remedy}.')


def read_values(path: Path, layout: Layout | None = None) -> np.ndarray:
    """Read a mask as brightness values (H, W), uint8.

    A palette (GIF, 1-bit TIFF, BMP, PNG) is looked up: what its colours show
    counts, the brightest of the three channels of each.
    """
    image = _open_mask(path, layout)
    if image.mode in ('1', 'L'):
        return np.array(image.convert('L'))
    if image.mode.startswith(('I', 'F')):
        return (np.array(image) > 0).astype(np.uint8) * 255
    if image.mode == 'P':
        brightness = np.zeros(256, np.uint8)
        colours = _palette(image)
        brightness[:len(colours)] = colours.max(axis=1)
        return brightness[np.array(image)]
    return np.array(image.convert('RGB')).max(axis=2)


def class_values(path: Path, layout: Layout | None = None) -> np.ndarray:
    """Read a mask whose values stand for classes, (H, W), uint8.

    A pixel of a palette image is its index, as annotation tools write it,
    unless the palette is grey, as that of scanned GIFs.
    """
    image = _open_mask(path, layout)
    if image.mode == 'P' and not np.ptp(_palette(image), axis=1).any():
        image = image.convert('L')
    values = np.array(image)
    if values.ndim == 3:
        values = np.array(image.convert('RGB'))
        if np.ptp(values, axis=2).any():
            raise PrepareError(
                f'{path}: is in colour, so that its values do not say which '
                'class a pixel is; save class numbers, or one mask per class.')
        values = values[..., 0]
    if values.max(initial=0) > 255 or (values != np.floor(values)).any():
        raise _unexpected(path, 'values of 0 to 255', [values.max()],
                          'save it with 8 bits')
    return values.astype(np.uint8)


def binary(path: Path, layout: Layout | None = None) -> Labelled:
    """Read a mask of one structure: 0 is background, the other value is it.
    """
    values = read_values(path, layout)
    found = np.unique(values)
    if len(found[found > 0]) > 1:
        raise _unexpected(
            path, '0 and one other value', found, 'take the original mask '
            'instead of a rescaled or JPEG-compressed copy')
    return (values > 0).astype(np.uint8), {}


def selected(path: Path,
             accepted: Collection[int],
             layout: Layout | None = None) -> Labelled:
    """Read a mask of one structure, which some of its values stand for."""
    table = np.zeros(256, np.uint8)
    table[list(accepted)] = 1
    return table[read_values(path, layout)], {}


def soft_binary(path: Path, layout: Layout | None = None) -> Labelled:
    """Read a mask whose values run from 0 to 255; from 128 on it is 1."""
    return selected(path, range(128, 256), layout)


def decoded(path: Path,
            meanings: Mapping[int, int],
            layout: Layout | None = None) -> Labelled:
    """Read a mask of several classes.

    ``meanings`` are labels by value; 0 is background if it is not named.
    """
    meanings = {0: 0, **meanings}
    values = class_values(path, layout)
    unknown = np.setdiff1d(values, list(meanings))
    if len(unknown):
        raise _unexpected(
            path, f'the values {", ".join(map(str, sorted(meanings)))}',
            unknown, 'say with --values what they mean, or correct the mask')
    table = np.zeros(256, np.uint8)
    table[list(meanings)] = list(meanings.values())
    return table[values], {}


def merge(*paths: Path | None, layout: Layout | None = None) -> Labelled:
    """Merge one binary mask per class, of class 1, 2, ..., None where the
    photograph has nothing of it; see :func:`merge_classes`.
    """
    masks = [(value, path, ()) for value, path in enumerate(paths, 1)]
    return merge_classes(masks, layout=layout)


def merge_classes(masks: Sequence[tuple[int, Path | None, Sequence[int]]],
                  nested: bool = False,
                  layout: Layout | None = None) -> Labelled:
    """Merge masks of single classes; a later class overwrites earlier ones.

    Args:
        masks: Label value, mask (None where the photograph has nothing of the
            class) and the values that count, all but 0 if there are none.
        nested: Whether each class lies in the one before it, so that an
            overlap is as it should be, and pixels outside are counted.
        layout: How the photograph is stored.
    """
    labels = np.zeros(layout.shape, np.uint8)
    odd = 0
    for place, (value, path, accepted) in enumerate(masks):
        if path is None:
            continue
        mask, _ = (
            selected(path, accepted, layout) if accepted else binary(
                path, layout))
        inside = mask > 0
        if not nested:
            odd += np.count_nonzero(labels[inside])
        elif place:
            odd += np.count_nonzero(labels[inside] == 0)
        labels[inside] = value
    what = ('pixels outside the class that contains theirs'
            if nested else 'overlapping pixels')
    return labels, {what: int(odd)} if len(masks) > 1 else {}


def disc_and_cup(disc: Path, cup: Path, layout: Layout | None = None):
    """Read soft maps, the share of experts of 255, of disc and cup.

    At least half of the experts must agree (>= 128). Labels are 1 disc rim
    and 2 cup; the cup's pixels outside the disc are counted.
    """
    disc, cup = (soft_binary(path, layout)[0] for path in (disc, cup))
    outside = int(np.count_nonzero(cup > disc))
    return np.where(cup > 0, np.uint8(2), disc), {
        'cup pixels outside the disc': outside
    }


def refuge(path: Path, layout: Layout | None = None) -> Labelled:
    """Read a REFUGE mask of either polarity: labels 1 disc rim and 2 cup.

    The release has 0 cup, 128 disc and 255 background; copies with the
    inverse, and with 0, 1 and 2, circulate. The background is what the mask's
    frame shows. Counts ``'inverted masks'``.
    """
    values = class_values(path, layout)
    if values.max(initial=0) <= 2:  # copies with class numbers
        values = np.array([0, 128, 255], np.uint8)[values]
    unknown = np.setdiff1d(values, (0, 128, 255))
    if len(unknown):
        raise _unexpected(path, 'the values 0, 128 and 255 (or 0, 1 and 2)',
                          unknown, 'take the original BMP')
    frame = np.concatenate(
        [values[0], values[-1], values[1:-1, 0], values[1:-1, -1]])
    background = 255 if np.mean(frame == 255) > 0.5 else 0
    if np.mean(frame == background) < 0.9:
        raise PrepareError(
            f'{path}: the frame of the mask should be background, 255 or 0, '
            'so that the polarity is known; take the original BMP.')
    labels = np.zeros(values.shape, np.uint8)
    labels[values == 128] = 1
    labels[values == 255 - background] = 2
    return labels, {'inverted masks': int(background == 0)}
