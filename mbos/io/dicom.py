"""Photographs in DICOM files, where pydicom is installed."""
import io
from typing import Any

import numpy as np

from .untrusted import RefusedError, check_size

SUFFIXES = ('.dcm', '.dicom')


def is_dicom(content: bytes) -> bool:
    """Whether a file begins as DICOM does."""
    return content[128:132] == b'DICM'


def read_dataset(path: str, content: bytes, **options: bool) -> Any:
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


def read(path: str, content: bytes) -> np.ndarray:
    """Read the first frame, grey (H, W) or RGB (H, W, 3); of more than 8 bits
    as shares of white, float32, since the file says how many the camera has.
    """
    from pydicom.pixels import apply_color_lut, pixel_array
    dataset = read_dataset(path, content)
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
