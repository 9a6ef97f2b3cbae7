"""Files that are complete or not there, and geometry.csv."""
import csv
import io
import os
from functools import lru_cache
from pathlib import Path
from typing import Dict, Iterable

import imgviz
import numpy as np
from PIL import Image

from mbos.io.geometry import Geometry
from .errors import PrepareError

JPEG_QUALITY = 95


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file under a temporary name, then rename it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f'.{path.name}.{os.getpid()}.tmp')
    try:
        temporary.write_bytes(content)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def remove_leftovers(folder: Path) -> None:
    """Remove temporary files of processes that were killed."""
    for path in folder.glob('.*.tmp'):
        pid = path.name.split('.')[-2]
        if pid.isdigit() and not _is_running(int(pid)):
            path.unlink(missing_ok=True)


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def write_photograph(path: Path, image: np.ndarray) -> None:
    """Write an RGB photograph: JPEG of quality 95, or lossless PNG or TIFF.

    The colour channels of the JPEG are not subsampled, because vessels and
    small lesions are told by their colour.
    """
    stream = io.BytesIO()
    if path.suffix == '.jpg':
        options = dict(format='JPEG', quality=JPEG_QUALITY, subsampling=0)
    elif path.suffix == '.png':
        options = dict(format='PNG')
    else:
        options = dict(format='TIFF', compression='tiff_lzw')
    Image.fromarray(image).save(stream, **options)
    write_bytes(path, stream.getvalue())


@lru_cache()
def _palette() -> bytes:
    return imgviz.label_colormap().astype(np.uint8).tobytes()


def to_palette_image(labels: np.ndarray) -> Image.Image:
    """Make a palette image with imgviz' colours, as the release writes them.

    Args:
        labels (np.ndarray): Labels of shape (H, W), dtype uint8.

    Returns:
        Image.Image: Image of mode P.
    """
    image = Image.fromarray(np.ascontiguousarray(labels, dtype=np.uint8))
    image = image.convert('L')
    image.putpalette(_palette())
    return image


def write_labels(path: Path, labels: np.ndarray) -> None:
    """Write labels as a palette PNG."""
    stream = io.BytesIO()
    to_palette_image(labels).save(stream, format='PNG')
    write_bytes(path, stream.getvalue())


def read_geometry(path: Path) -> Dict[str, Geometry]:
    """Read geometry.csv; an empty dict if there is none.

    Raises:
        PrepareError: If the file is damaged.
    """
    if not path.exists():
        return {}
    try:
        with open(path, newline='', encoding='utf-8') as file:
            rows = map(Geometry.from_row, csv.DictReader(file))
            return {row.name: row for row in rows}
    except (KeyError, TypeError, ValueError) as error:
        raise PrepareError(f'{path}: cannot be read ({error!r}); remove the '
                           'file, it will be made again.') from error


def write_geometry(path: Path, rows: Iterable[Geometry]) -> None:
    """Write geometry.csv, sorted by name."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator='\n')
    writer.writerow(Geometry.columns())
    for row in sorted(rows, key=lambda row: row.name):
        writer.writerow(row.to_row())
    write_bytes(path, stream.getvalue().encode('utf-8'))
