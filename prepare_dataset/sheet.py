"""Contact sheets: photographs beside their labels, to look at."""
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from mbos.io import RefusedError
from mbos.io.files import save_image
from mbos.io.labels import read_labels
from mbos.painter import draw_overlay, shrink
from mbos.tasks import Task
from .description import Labels
from .labels import open_photograph

TILE = 320
HEAD = 20
"""int: Height of the line above a tile, with the name of its photograph."""
PER_SPLIT = 8
COLUMNS = 4
OUTLINE = Task('fov', ('inside', ), True, ((255, 255, 255), ))
"""Task: Shows the field of view."""


def _tile(path: Path, labels: Mapping[str, Labels], place: str) -> Image.Image:
    """One photograph, and the same with its labels and its field of view,
    below a line with its split, its name and its place in it.
    """
    tile = Image.new('RGB', (2 * TILE, HEAD + TILE))
    title = f'{path.parents[1].name}/{path.name}  ({place})'
    font = ImageFont.load_default(13)
    ImageDraw.Draw(tile).text((4, HEAD / 2), title, font=font, anchor='lm')
    try:
        photograph = shrink(open_photograph(path).read().image, TILE)
    except RefusedError:
        return tile
    overlay = photograph
    # of several folders the first is on top; a second opinion is not drawn
    for name, kind in reversed(labels.items()):
        plane = _labels(path, name)
        if plane is not None and '-' not in name:
            task = OUTLINE if name == 'fov' else kind.shown_as
            overlay = draw_overlay(overlay, {task.name: plane}, [task])
    tile.paste(Image.fromarray(photograph), (0, HEAD))
    tile.paste(Image.fromarray(overlay), (TILE, HEAD))
    return tile


def _labels(photograph: Path, folder: str) -> np.ndarray | None:
    """Labels of a photograph; None without a file that has any: what is wrong
    with it stands in the table of the check.
    """
    path = photograph.parents[1] / folder / f'{photograph.stem}.png'
    try:
        return read_labels(str(path))
    except ValueError:
        return None


def write_sheet(path: Path, splits: Sequence[list[Path]],
                labels: Mapping[str, Labels]) -> None:
    """Draw some photographs of each split, evenly chosen, split by split."""
    tiles: list[Image.Image | None] = []
    for photographs in splits:
        number = len(photographs)
        step = max(1, number // PER_SPLIT)
        tiles += [
            _tile(photographs[i], labels, f'{i + 1} of {number}')
            for i in range(0, number, step)[:PER_SPLIT]
        ]
        tiles += [None] * (-len(tiles) % COLUMNS)
    width, height = 2 * TILE, HEAD + TILE
    sheet = Image.new('RGB', (COLUMNS * width, len(tiles) // COLUMNS * height))
    for place, tile in enumerate(tiles):
        if tile:
            row, column = divmod(place, COLUMNS)
            sheet.paste(tile, (column * width, row * height))
    if tiles:
        save_image(path, sheet, quality=90)
