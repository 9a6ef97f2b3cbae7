"""Reading masks of every encoding, and merging them into label maps.

A reader is a function of paths that returns labels of shape (H, W), dtype
uint8 (docs/method.md, section 1), and a dict of counts worth reporting.
``layout`` is how the photograph is stored: a mask is turned upright with it
and must have its size. What cannot be read, or has other values than it
should, raises ``RefusedError``.
"""
import gzip
import io
from collections.abc import Collection, Mapping, Sequence
from functools import partial, reduce
from pathlib import Path

import numpy as np
from PIL import Image, ImageChops

import mbos.io
from mbos.faults import first_of
from mbos.io import RefusedError
from mbos.io.photographs import EncodedPhotograph, Layout

Labelled = tuple[np.ndarray, dict[str, int]]


def open_image(path: Path) -> Image.Image:
    """Read the first frame of a file completely: an image of
    ``mbos.io.FORMATS``, or a packed PPM.
    """
    if path.suffix != '.gz':
        with mbos.io.open_image(path) as image:
            return image.copy()
    mbos.io.check_regular(path)
    # of a PPM no more is unpacked than its header claims
    with gzip.open(path) as file, mbos.io.open_image(path, file,
                                                     ('PPM', )) as image:
        return image.copy()


def open_photograph(path: Path) -> EncodedPhotograph:
    """Read a photograph's file, which may be a packed PPM."""
    if path.suffix != '.gz':
        return EncodedPhotograph(path)
    packed = io.BytesIO()
    open_image(path).save(packed, format='PPM')
    return EncodedPhotograph(path, packed.getvalue())


def _upright(values: np.ndarray, path: Path, layout: Layout) -> np.ndarray:
    values = layout.turn_mask(values)
    if values.shape != layout.shape:
        (rows, columns), (height, width) = values.shape, layout.shape
        raise RefusedError(
            f'{path}: the mask is {columns}x{rows}, its photograph '
            f'{width}x{height}; both must come from the same release of the '
            'collection, unscaled.')
    return values


def _unexpected(path: Path, expected: str, found: Sequence[int],
                remedy: str) -> RefusedError:
    return RefusedError(f'{path}: expected {expected}, found '
                        f'{first_of(map(str, found), 8)}; {remedy}.')


def read_values(path: Path, layout: Layout) -> np.ndarray:
    """Read a mask as brightness values (H, W), uint8: what the colours of a
    palette show counts, the brightest of the three channels of each.
    """
    image = open_image(path)
    if image.mode.startswith(('I', 'F')):  # more than 8 bits
        values = (np.array(image) > 0).astype(np.uint8) * 255
    else:
        channels = image.convert('RGB').split()
        values = np.array(reduce(ImageChops.lighter, channels))
    return _upright(values, path, layout)


def class_values(path: Path, layout: Layout) -> np.ndarray:
    """Read a mask whose values stand for classes, (H, W), uint8.

    A pixel of a palette image is its index, as annotation tools write it,
    unless the palette is grey, as that of scanned GIFs.
    """
    image = open_image(path)
    if image.mode == 'P':
        palette = np.array(image.getpalette('RGB')).reshape(-1, 3)
        if not np.ptp(palette, axis=1).any():
            image = image.convert('L')
    values = np.array(image)
    if values.ndim == 3:
        values = np.array(image.convert('RGB'))
        if np.ptp(values, axis=2).any():
            raise RefusedError(
                f'{path}: is in colour, so that its values do not say which '
                'class a pixel is; save class numbers, or one mask per class.')
        values = values[..., 0]
    if values.max(initial=0) > 255 or (values != np.floor(values)).any():
        raise _unexpected(path, 'values of 0 to 255', [values.max()],
                          'save it with 8 bits')
    return _upright(values.astype(np.uint8), path, layout)


def binary(path: Path, layout: Layout,
           accepted: Collection[int] = ()) -> Labelled:
    """Read a mask of one structure: 0 is background, the other value is it, or
    the accepted ones are.
    """
    values = read_values(path, layout)
    if accepted:
        return np.isin(values, [*accepted]).astype(np.uint8), {}
    found = np.unique(values)
    if len(found[found > 0]) > 1:
        raise _unexpected(
            path, '0 and one other value', found, 'take the original mask '
            'instead of a rescaled or JPEG-compressed copy')
    return (values > 0).astype(np.uint8), {}


SOFT = range(128, 256)
"""range: What a mask with values of 0 to 255 shows for certain."""
soft_binary = partial(binary, accepted=SOFT)


def decoded(path: Path, layout: Layout, meanings: Mapping[int,
                                                          int]) -> Labelled:
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


def merge(*paths: Path | None,
          layout: Layout,
          accepted: Sequence[Collection[int]] = (),
          nested: bool = False) -> Labelled:
    """Merge masks of the classes 1, 2, ...; a later one overwrites earlier
    ones. A path is None where the photograph has nothing of the class.

    ``accepted`` are the values that count in each mask, empty for all but 0.
    If each class lies in the one before it, ``nested``, an overlap is as it
    should be, and pixels outside are counted.
    """
    labels = np.zeros(layout.shape, np.uint8)
    odd = 0
    for place, path in enumerate(paths):
        if path is None:
            continue
        mask, _ = binary(path, layout, accepted[place] if accepted else ())
        inside = mask > 0
        if not nested:
            odd += np.count_nonzero(labels[inside])
        elif any(paths[:place]):
            odd += np.count_nonzero(labels[inside] == 0)
        labels[inside] = place + 1
    what = ('pixels outside the class that contains theirs'
            if nested else 'overlapping pixels')
    return labels, {what: int(odd)} if len(paths) > 1 else {}


def refuge(path: Path, layout: Layout) -> Labelled:
    """Read a REFUGE mask of either polarity: labels 1 disc rim and 2 cup.

    The release has 0 cup, 128 disc and 255 background; copies with the
    inverse, and with 0, 1 and 2, circulate. The mask's frame is background.
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
        raise RefusedError(
            f'{path}: the frame of the mask should be background, 255 or 0, '
            'so that the polarity is known; take the original BMP.')
    labels = (values == 128).astype(np.uint8)
    labels[values == 255 - background] = 2
    return labels, {'inverted masks': int(background == 0)}
