"""Contact sheets: photographs beside their labels, to look at."""
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from mbos.io import RefusedError
from mbos.io.downscale import scale_labels
from mbos.io.files import save_image
from mbos.painter import draw_overlay, shrink
from .description import Labels
from .labels import open_image, open_photograph

TILE = 320
HEAD = 20
"""int: Height of the line above a tile, with the name of its photograph."""
PER_SPLIT = 8
COLUMNS = 4
FOV = 'fov'
BESIDES = '-'
"""str: In names of folders that hold a second opinion, which is not drawn."""


def _tile(path: Path, labels: Mapping[str, Labels]) -> np.ndarray:
    """One photograph, and the same with its labels and its field of view."""
    tile = np.zeros((TILE, 2 * TILE, 3), np.uint8)
    try:
        photograph = shrink(open_photograph(path).decode(), TILE)
    except RefusedError:
        return tile
    height, width = photograph.shape[:2]
    overlay = photograph.copy()
    fov = _labels(path, FOV)
    if fov is not None:
        fov = scale_labels(fov, (width, height))
        overlay[fov > cv2.erode(fov, np.ones((3, 3), np.uint8))] = 255
    # of several folders the first is on top
    for name, kind in reversed(labels.items()):
        plane = _labels(path, name)
        if plane is not None and name != FOV and BESIDES not in name:
            task = kind.shown_as
            overlay = draw_overlay(overlay, {task.name: plane}, [task])
    tile[:height, :width] = photograph
    tile[:height, TILE:TILE + width] = overlay
    return tile


def _labels(photograph: Path, folder: str) -> np.ndarray | None:
    """Labels of a photograph; None without a file that has any."""
    path = photograph.parents[1] / folder / f'{photograph.stem}.png'
    try:
        labels = np.array(open_image(path)) if path.exists() else None
    except RefusedError:
        labels = None
    # What is wrong with a file stands in the table of the check.
    if labels is None or labels.ndim != 2:
        return None
    return labels.astype(np.uint8)


def _named(path: Path, tile: np.ndarray, place: str) -> np.ndarray:
    """A tile below a line with its split, its name and its place in it."""
    picture = Image.new('RGB', (tile.shape[1], HEAD + tile.shape[0]))
    picture.paste(Image.fromarray(tile), (0, HEAD))
    ImageDraw.Draw(picture).text(
        (4, HEAD / 2),
        f'{path.parents[1].name}/{path.name}  ({place})',
        font=ImageFont.load_default(13),
        anchor='lm')
    return np.asarray(picture)


def write_sheet(path: Path, splits: Sequence[list[Path]],
                labels: Mapping[str, Labels]) -> None:
    """Draw some photographs of each split, evenly chosen, split by split."""
    rows = []
    for photographs in splits:
        step = max(1, len(photographs) // PER_SPLIT)
        chosen = range(0, len(photographs), step)[:PER_SPLIT]
        tiles = [
            _named(photographs[i], _tile(photographs[i], labels),
                   f'{i + 1} of {len(photographs)}') for i in chosen
        ]
        while len(tiles) % COLUMNS:
            tiles.append(np.zeros_like(tiles[0]))
        rows += [
            np.hstack(tiles[i:i + COLUMNS])
            for i in range(0, len(tiles), COLUMNS)
        ]
    if rows:
        save_image(path, np.vstack(rows), quality=90)
