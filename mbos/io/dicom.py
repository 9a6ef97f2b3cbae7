"""Photographs in DICOM files, where pydicom is installed."""
from typing import Any, BinaryIO

import numpy as np

from .errors import RefusedError
from .images import max_image_pixels

SUFFIXES = ('.dcm', '.dicom')


def is_dicom(stream: BinaryIO) -> bool:
    """Whether a file begins as DICOM does."""
    start = stream.read(132)
    stream.seek(0)
    return start[128:] == b'DICM'


def _dataset(path: str, stream: BinaryIO, **options: bool) -> Any:
    try:
        import pydicom
    except ImportError as error:
        raise RefusedError(
            f'{path}: is a DICOM file, which needs pydicom; install it with '
            "pip install 'mbos[dicom]', or export the photograph as PNG."
        ) from error
    dataset = pydicom.dcmread(stream, **options)
    rows, columns = dataset.get('Rows', 0), dataset.get('Columns', 0)
    if not 0 < rows * columns <= max_image_pixels():
        raise RefusedError(
            f'{path}: is a DICOM file whose header claims {columns}x{rows} '
            f'pixels, expected 1 to {max_image_pixels()}; leave it out.')
    return dataset


def shape_of(path: str, stream: BinaryIO) -> tuple[int, int]:
    """Read height and width."""
    dataset = _dataset(path, stream, stop_before_pixels=True)
    return int(dataset.Rows), int(dataset.Columns)


def read(path: str, stream: BinaryIO) -> np.ndarray:
    """Read the first frame, grey (H, W) or RGB (H, W, 3); of more than 8 bits
    as shares of white, float32, since the file says how many the camera has.
    """
    from pydicom.pixels import apply_color_lut, pixel_array
    dataset = _dataset(path, stream)
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
