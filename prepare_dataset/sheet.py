"""Contact sheets: photographs beside their labels, to look at."""
from pathlib import Path
from typing import Dict, List, Mapping, Optional, Sequence

import cv2
import imgviz
import numpy as np
from PIL import Image

from mbos.io import RefusedError
from mbos.io.downscale import scale_labels
from mbos.io.files import save_image
from .description import Labels
from .labels import Size, open_image, open_photograph

TILE = 320
PER_SPLIT = 8
COLUMNS = 4
OUTLINED = ('fov', 'OD')
BESIDES = '-'
"""str: In names of folders that hold a second opinion, which is not drawn."""


def _tile(path: Path, folders: Mapping[str, int]) -> np.ndarray:
    """One photograph, and the same with its labels in colour.

    The field of view and the separate disc mask of IDRiD are outlined. Of
    several label folders the earlier ones are on top, in colours of their own.
    """
    tile = np.zeros((TILE, 2 * TILE, 3), np.uint8)
    try:
        encoded = open_photograph(path)
        photograph = Image.fromarray(encoded.decode())
    except RefusedError:
        return tile
    photograph.thumbnail((TILE, TILE), Image.Resampling.BOX)
    size = photograph.size
    overlay = np.array(photograph)
    for name in OUTLINED:
        mask = _labels(path, name, size)
        overlay[mask > cv2.erode(mask, np.ones((3, 3), np.uint8))] = 255
    # Twice the brightness of the palette, whose red is that of blood.
    palette = np.minimum(2 * imgviz.label_colormap().astype(int), 255)
    drawn = np.zeros(size[::-1], np.uint8)
    for name, offset in folders.items():
        labels = _labels(path, name, size)
        new = (labels > 0) & (drawn == 0)
        drawn[new] = labels[new] + offset
    overlay[drawn > 0] = (0.3 * overlay + 0.7 * palette[drawn])[drawn > 0]
    tile[:size[1], :size[0]] = photograph
    tile[:size[1], TILE:TILE + size[0]] = overlay
    return tile


def _labels(photograph: Path, folder: str, size: Size) -> np.ndarray:
    """Labels of a photograph in the tile's size, zeros without a file."""
    path = photograph.parents[1] / folder / f'{photograph.stem}.png'
    labels = _read(path) if path.exists() else None
    # What is wrong with a file stands in the table of the check.
    if labels is None or labels.ndim != 2:
        return np.zeros(size[::-1], np.uint8)
    return scale_labels(labels.astype(np.uint8), size)


def _read(path: Path) -> Optional[np.ndarray]:
    try:
        return np.array(open_image(path))
    except RefusedError:
        return None


def write_sheet(path: Path, splits: Sequence[List[Path]],
                labels: Mapping[str, Labels]) -> None:
    """Draw some photographs of each split, evenly chosen, split by split.

    Args:
        path (Path): JPEG to write.
        splits (Sequence[list[Path]]): Photographs of each split.
        labels (dict[str, Labels]): Label folders of the collection.
    """
    folders: Dict[str, int] = {}
    offset = 0
    for name, kind in labels.items():
        if name not in OUTLINED and BESIDES not in name:
            folders[name] = offset
            offset += kind.largest
    rows = []
    for photographs in splits:
        step = max(1, len(photographs) // PER_SPLIT)
        tiles = [_tile(p, folders) for p in photographs[::step][:PER_SPLIT]]
        while len(tiles) % COLUMNS:
            tiles.append(np.zeros((TILE, 2 * TILE, 3), np.uint8))
        rows += [
            np.hstack(tiles[i:i + COLUMNS])
            for i in range(0, len(tiles), COLUMNS)
        ]
    if not rows:
        return
    save_image(path, np.vstack(rows), quality=90)
