"""Contact sheets: photograph, ground truth and predictions side by side."""
import os.path as osp
from collections.abc import Mapping, Sequence

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from mbos.io.labels import read_labels
from mbos.io.photographs import read_photograph
from mbos.painter import draw_overlay, shrink
from mbos.pictures.overlay_picture import BACKGROUND, FAINT, INK, draw_legend
from mbos.tasks import Task

TILE = 360
GAP = 10
HEAD = 34
LEFT = 30
FOOT = 44


def choose(count: int, wanted: int = 3) -> list[int]:
    """Positions of a few images, spread evenly."""
    positions = np.linspace(0, count - 1, min(count, wanted))
    return sorted({int(round(p)) for p in positions})


def truth_planes(datasets: Sequence, stem: str) -> dict[str, np.ndarray]:
    """Ground truth (H, W) of an image by task, from test sets of its folder.

    Of a task's label maps, one of more classes wins.
    """
    planes, known = {}, {}
    for dataset in datasets:
        stems = [dataset.stem(i) for i in range(len(dataset))]
        for task, folder in dataset.truth.items():
            count = len(folder.classes)
            if stem in stems and count > known.get(task, 0):
                planes[task] = dataset.get_gt_plane(stems.index(stem), task)
                known[task] = count
    return planes


def predicted_planes(folder: str, tasks: Sequence[Task],
                     stem: str) -> dict[str, np.ndarray]:
    """Label maps by task that ``tools/test.py --vis`` wrote."""
    paths = {t.name: osp.join(folder, t.name, f'{stem}.png') for t in tasks}
    return {t: read_labels(p) for t, p in paths.items() if osp.isfile(p)}


def sheet_of(datasets: Sequence,
             predictions: Mapping[str, str],
             title: str,
             images: int = 3) -> np.ndarray:
    """Draw the contact sheet of the test sets of one image folder: RGB, uint8.

    ``predictions`` are output folders of ``--vis`` by heading.
    """
    first = datasets[0]
    tasks = first.tasks
    rows, names = [], []
    for index in choose(len(first), images):
        stem = first.stem(index)
        image = _fitted(read_photograph(first.image_path(index)).image)
        layers = [{}, truth_planes(datasets, stem)]
        layers += [
            predicted_planes(folder, tasks, stem)
            for folder in predictions.values()
        ]
        rows.append([_tile(draw_overlay(image, p, tasks)) for p in layers])
        names.append(stem)
    heads = ['photograph', _truth_heading(datasets), *predictions]
    return _compose(rows, names, heads, title, tasks)


def _truth_heading(datasets: Sequence) -> str:
    """Name the tasks with truth, and their classes if only some have."""
    names = {}
    for dataset in datasets:
        for task, folder in dataset.truth.items():
            names.setdefault(task, set()).update(folder.classes)
    tasks = {task.name: task for task in datasets[0].tasks}
    shown = [
        name if len(classes) == tasks[name].num_classes else
        f'{name}: {" ".join(c for c in tasks[name].classes if c in classes)}'
        for name, classes in names.items()
    ]
    return f'ground truth ({", ".join(shown)})'


def _fitted(image: np.ndarray) -> np.ndarray:
    """An image whose longer side is that of a tile."""
    image = shrink(image, TILE)
    scale = TILE / max(image.shape[:2])
    size = [max(1, round(scale * side)) for side in image.shape[1::-1]]
    return cv2.resize(image, size, interpolation=cv2.INTER_CUBIC)


def _tile(picture: np.ndarray) -> np.ndarray:
    """Put a picture in the middle of a square."""
    height, width = picture.shape[:2]
    tile = np.zeros((TILE, TILE, 3), np.uint8)
    top, left = (TILE - height) // 2, (TILE - width) // 2
    tile[top:top + height, left:left + width] = picture
    return tile


def _compose(rows, names, heads, title, tasks) -> np.ndarray:
    """Put tiles, headings, names and legend together."""
    width = LEFT + len(heads) * (TILE + GAP)
    height = 2 * HEAD + len(rows) * (TILE + GAP) + FOOT
    sheet = Image.new('RGB', (width, height), BACKGROUND)
    pen = ImageDraw.Draw(sheet)
    pen.text((LEFT, HEAD / 2 + 3), title, INK, _font(20), anchor='lm')
    for column, head in enumerate(heads):
        centre = LEFT + column * (TILE + GAP) + TILE / 2
        pen.text((centre, 1.5 * HEAD), head, FAINT, _font(16), anchor='mm')
    for row, (tiles, name) in enumerate(zip(rows, names)):
        top = 2 * HEAD + row * (TILE + GAP)
        for column, tile in enumerate(tiles):
            left = LEFT + column * (TILE + GAP)
            sheet.paste(Image.fromarray(tile), (left, top))
        sheet.paste(_upright(name), (4, top))
    draw_legend(pen, tasks, LEFT, height - FOOT / 2)
    return np.asarray(sheet)


def _upright(name: str) -> Image.Image:
    """An image's name, to be read from below."""
    strip = Image.new('RGB', (TILE, LEFT - 8), BACKGROUND)
    ImageDraw.Draw(strip).text((TILE / 2, (LEFT - 8) / 2),
                               name,
                               FAINT,
                               _font(14),
                               anchor='mm')
    return strip.rotate(90, expand=True)


def _font(size: int):
    return ImageFont.load_default(size)


def group_by_images(datasets: Sequence) -> list[tuple[str, list]]:
    """Test sets that share an image folder, with the name of the first one."""
    groups = {}
    for dataset in datasets:
        groups.setdefault(osp.abspath(dataset.img_dir), []).append(dataset)
    return [(sets[0].name, sets) for sets in groups.values()]
