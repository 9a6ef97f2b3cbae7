"""Full-size photographs for ``benchmarks/data.py``: the user's, or drawn."""
import os
import os.path as osp
from pathlib import Path

import cv2
import numpy as np

from prepare_dataset.synthetic import CAMERAS
from prepare_dataset.synthetic_camera import photograph
from prepare_dataset.synthetic_eye import draw_eye
from prepare_dataset.synthetic_layouts import write_idrid

HEIGHT, WIDTH = 2848, 4288
DRAWN_SMALLER = 4
"""int: Drawing at full size takes minutes, so it is done at a quarter."""


def draw_photographs(out: Path, count: int, height: int) -> Path:
    """Draw photographs with masks in IDRiD's raw layout.

    Args:
        out (Path): Folder to write into.
        count (int): How many.
        height (int): Of a photograph, in pixels.

    Returns:
        Path: IDRiD's raw folder.
    """
    camera, size = CAMERAS['IDRiD'][0], (height * WIDTH // HEIGHT, height)
    for number in range(1, count + 1):
        rng = np.random.default_rng(number)
        eye = draw_eye(
            camera.frame(height // DRAWN_SMALLER), rng, diseased=True)
        image = cv2.resize(
            photograph(eye, camera, rng), size, interpolation=cv2.INTER_CUBIC)
        # the grain of a sensor, which makes files as large as real ones
        grain = rng.normal(0, 2, image.shape).astype(np.float32)
        image = np.clip(image + grain, 0, 255).astype(np.uint8)
        masks = {
            name: cv2.resize(
                mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
            > 0
            for name, mask in eye.masks().items()
        }  # yapf: disable
        write_idrid(out, 'train', number, image, masks)
    return out / 'raw' / 'IDRiD'


def find_raw(raw: str | None) -> Path | None:
    """The folder of photographs that the user has, if there is one."""
    real = os.environ.get('MBOS_REAL_DATA')
    if raw is None and real and osp.isdir(osp.join(real, 'IDRiD')):
        raw = osp.join(real, 'IDRiD')
    if raw is not None and not osp.isdir(raw):
        raise FileNotFoundError(f'{raw}: not found; give the unpacked folder '
                                'of IDRiD, or leave --raw out to draw some.')
    return None if raw is None else Path(raw)
