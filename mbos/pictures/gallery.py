"""A page to look at a folder of predictions with."""
import os.path as osp
import re
import zlib
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from PIL import Image

from mbos.io.files import save_image, save_text, without_nan
from mbos.io.labels import read_labels
from mbos.io.photographs import read_photograph
from mbos.painter import DrawnTask, draw_layer, shrink
from mbos.tasks import Task
from .document import link_to, render_page

THUMBNAIL = 512


@dataclass(frozen=True)
class GalleryImage:
    """A photograph's name, unique in the gallery, its file, and what was found
    in it: label PNGs of its upright size by task, numbers or text by name,
    what is doubtful in a few words each, and further files to open."""

    name: str
    photograph: str
    labels: Mapping[str, str] = field(default_factory=dict)
    measurements: Mapping[str, object] = field(default_factory=dict)
    flags: Sequence[str] = ()
    links: Mapping[str, str] = field(default_factory=dict)


def write_gallery(out_dir: str,
                  images: Sequence[GalleryImage],
                  tasks: Sequence[Task],
                  title: str = 'Predictions',
                  note: str = '',
                  longest: int = THUMBNAIL) -> str:
    """Write ``gallery.html`` and its pictures into a folder of predictions.

    Pictures that are newer than what they show are kept, so writing it again
    is quick. ``note`` stands below the title, ``longest`` is the longer side
    of pictures in pixels. Returns the page's file. A ValueError says that a
    picture is unreadable or has another size than its labels.
    """
    url = partial(link_to, folder=out_dir)
    columns = list(dict.fromkeys(c for i in images for c in i.measurements))

    def item_of(image: GalleryImage) -> dict:
        """Names, values and URLs of an image, after its pictures are made."""
        thumbnail, layers = _make_pictures(out_dir, image, tasks, longest)
        with Image.open(thumbnail) as small:
            size = small.size
        links = dict(photograph=image.photograph) | image.links
        return dict(
            name=image.name,
            flags=list(image.flags),
            values=[image.measurements.get(column) for column in columns],
            size=size,
            thumbnail=url(thumbnail),
            layers={
                t: url(path)
                for t, path in layers.items()
            },
            links=[(name, url(path)) for name, path in links.items()])

    with ThreadPoolExecutor(4) as pool:
        items = without_nan(list(pool.map(item_of, images)))
    page = osp.join(out_dir, 'gallery.html')
    values = dict(title=title, note=note, tasks=tasks, columns=columns)
    save_text(page, render_page('gallery.html', items=items, **values))
    return page


def _make_pictures(out_dir: str, image: GalleryImage, tasks: Sequence[Task],
                   longest: int) -> tuple[str, dict[str, str]]:
    """Files of an image's thumbnail, and of its layers by task, after those
    that are missing or old were made."""
    thumbnail, layers = _paths(out_dir, image.name, image.labels)
    newest = max(map(osp.getmtime, (image.photograph, *image.labels.values())))
    if all(osp.isfile(path) and osp.getmtime(path) >= newest
           for path in (thumbnail, *layers.values())):  # yapf: disable
        with Image.open(thumbnail) as small:
            if max(small.size) == longest:
                return thumbnail, layers
    photograph, labels = read_photograph(image.photograph).image, {}
    for task in tasks:
        if task.name not in image.labels:
            continue
        plane = read_labels(image.labels[task.name])
        if plane.shape != photograph.shape[:2]:
            raise ValueError(
                f'{image.labels[task.name]}: has {plane.shape} rows and '
                f'columns, its photograph {image.photograph} '
                f'{photograph.shape[:2]}; predict it again.')
        labels[task.name] = DrawnTask(plane, task)
    return write_pictures(out_dir, image.name, photograph, labels, longest)


def write_pictures(out_dir: str, name: str, photograph: np.ndarray,
                   labels: Mapping[str, DrawnTask],
                   longest: int) -> tuple[str, dict[str, str]]:
    """Draw and write the page's pictures of one image, which
    :func:`write_gallery` then keeps: for those who have the arrays at hand.

    The photograph may be smaller than its labels; ``longest`` is the longer
    side of what is drawn. Returns the files.
    """
    small = shrink(photograph, longest)
    thumbnail, layers = _paths(out_dir, name, labels)
    for task, path in layers.items():
        layer = draw_layer(labels[task], small.shape[1::-1])
        save_image(path, layer, optimize=True)
    save_image(thumbnail, small, quality=85, optimize=True)
    return thumbnail, layers


def _paths(out_dir: str, name: str,
           tasks: Iterable[str]) -> tuple[str, dict[str, str]]:
    """Files of an image's thumbnail, and of its layers by task."""
    base = osp.join(out_dir, 'gallery_files', file_name(name))
    return f'{base}.jpg', {task: f'{base}.{task}.png' for task in tasks}


def file_name(name: str) -> str:
    """Make a file name of an image's name, whatever that holds."""
    safe = re.sub(r'[^A-Za-z0-9._-]+', '_', name).lstrip('.')[:100]
    # different names must not become alike
    return safe if safe == name else f'{safe}-{zlib.crc32(name.encode()):08x}'
