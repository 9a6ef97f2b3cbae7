"""Reading and writing of label PNGs and listing of data folders."""
import os
import zlib

import cv2
import numpy as np
from PIL import Image

from mbos.tasks import IGNORE_INDEX, OTHER_COLOURS, Task
from .files import save_image
from .untrusted import RefusedError, open_image

IGNORE_COLOUR = (224, 224, 224)


def read_labels(path: str) -> np.ndarray:
    """Read a label PNG of one channel as indices (H, W), uint8, whatever the
    colours of its palette; a ValueError says what is wrong with another file.
    """
    with open_image(path) as image:
        if image.mode in ('1', 'L', 'P'):
            return np.array(image, dtype=np.uint8)
        raise RefusedError(
            f'{path}: has Pillow mode {image.mode!r}, expected one channel of '
            '8 bits (1, L or P); save label values, not colours, e.g. with '
            'mbos.io.labels.save_labels.')


def translate(labels: np.ndarray, table: np.ndarray | None) -> np.ndarray:
    """Replace label values by a table of shape (256, ), if there is one."""
    return labels if table is None else cv2.LUT(labels, table)


def save_labels(path: str | os.PathLike,
                labels: np.ndarray,
                task: Task | None = None) -> None:
    """Write labels (H, W), uint8, as a PNG in the colours of the task, or
    those of tasks without any: whole, or not at all.
    """
    colours = task.colours if task else OTHER_COLOURS
    palette = np.zeros((256, 3), np.uint8)
    palette[1:] = np.resize(colours, (255, 3))
    palette[IGNORE_INDEX] = IGNORE_COLOUR
    image = Image.fromarray(np.ascontiguousarray(labels, dtype=np.uint8))
    image.putpalette(palette.tobytes())
    # runs of one value: in half of the time, and smaller
    save_image(path, image, compress_type=zlib.Z_RLE)


def list_names(folder: str) -> list[str]:
    """List the visible files of a folder, sorted."""
    return sorted(
        entry.name for entry in os.scandir(folder)
        if not entry.name.startswith('.') and entry.is_file())
