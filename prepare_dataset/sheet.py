"""Contact sheets: photographs beside their labels, to look at."""
import io
from pathlib import Path
from typing import List, Sequence

import imgviz
import numpy as np
from PIL import Image

from .files import write_bytes
from .labels import open_image

TILE = 240
PER_SPLIT = 8
COLUMNS = 4


def _tile(path: Path) -> np.ndarray:
    """One photograph and the same with its labels in colour."""
    photograph = open_image(path).convert('RGB')
    photograph.thumbnail((TILE, TILE), Image.Resampling.BOX)
    size = photograph.size
    overlay = np.array(photograph)
    mask = path.parents[1] / 'ann' / f'{path.stem}.png'
    if mask.exists():
        labels = np.array(open_image(mask).resize(size, 0))
        colours = imgviz.label_colormap()[labels]
        inside = labels > 0
        overlay[inside] = (0.4 * overlay + 0.6 * colours)[inside]
    tile = np.zeros((TILE, 2 * TILE, 3), np.uint8)
    tile[:size[1], :size[0]] = photograph
    tile[:size[1], TILE:TILE + size[0]] = overlay
    return tile


def write_sheet(path: Path, splits: Sequence[List[Path]]) -> None:
    """Draw some photographs of each split, evenly chosen, split by split.

    Args:
        path (Path): JPEG to write.
        splits (Sequence[list[Path]]): Photographs of each split.
    """
    rows = []
    for photographs in splits:
        step = max(1, len(photographs) // PER_SPLIT)
        tiles = [_tile(p) for p in photographs[::step][:PER_SPLIT]]
        while len(tiles) % COLUMNS:
            tiles.append(np.zeros((TILE, 2 * TILE, 3), np.uint8))
        rows += [
            np.hstack(tiles[i:i + COLUMNS])
            for i in range(0, len(tiles), COLUMNS)
        ]
    if not rows:
        return
    stream = io.BytesIO()
    Image.fromarray(np.vstack(rows)).save(stream, format='JPEG', quality=90)
    write_bytes(path, stream.getvalue())
