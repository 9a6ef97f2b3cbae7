"""A page to look at a folder of predictions with."""
import os.path as osp
import re
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from mbos.io.files import save_image, save_text, without_nan
from mbos.io.labels import read_labels
from mbos.io.photographs import EncodedPhotograph
from mbos.painter import DrawnTask, draw_layer, shrink
from mbos.tasks import Task
from .document import css_colours, link_to, render_page

PICTURES = 'gallery_files'
THUMBNAIL = 512
THREADS = 4


@dataclass(frozen=True)
class GalleryImage:
    """A photograph and what was found in it.

    Attributes:
        name: Unique in the gallery.
        photograph: Its file.
        labels: Label PNG by task, of the photograph's size as it is displayed
            (after its EXIF orientation).
        measurements: Numbers, or text, by name; None is undefined.
        flags: What is doubtful, in a few words each.
        links: Further files to open, by what they are.
    """

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
                  thumbnail: int = THUMBNAIL) -> str:
    """Write ``gallery.html`` and its pictures into a folder of predictions.

    Pictures that are newer than what they show are kept, so writing it again
    is quick. ``note`` stands below the title, ``thumbnail`` is the longer side
    of pictures in pixels. Returns the page's file.

    Raises:
        ValueError: If two images have one name, labels are of an unknown
            task, or a picture is unreadable or has another size than its
            labels.
    """
    counts = Counter(image.name for image in images)
    wrong = [name for name, count in counts.items() if count > 1]
    labelled = {name for image in images for name in image.labels}
    wrong += labelled - {task.name for task in tasks}
    if wrong:
        raise ValueError(
            'Images of the gallery need names that differ, and labels of its '
            f'tasks, {", ".join(task.name for task in tasks)}; got '
            f'{", ".join(map(repr, wrong))}.')
    columns = list(dict.fromkeys(c for i in images for c in i.measurements))

    def item_of(image: GalleryImage) -> dict:
        values = [image.measurements.get(column) for column in columns]
        return _with_pictures(out_dir, image, tasks, thumbnail) | dict(
            name=image.name, flags=list(image.flags), values=values)

    with ThreadPoolExecutor(THREADS) as pool:
        items = without_nan(list(pool.map(item_of, images)))
    shown = [
        dict(name=t.name, nested=t.nested, classes=css_colours(t))
        for t in tasks
    ]
    values = dict(title=title, note=note, tasks=shown, columns=columns)
    page = osp.join(out_dir, 'gallery.html')
    save_text(page, render_page('gallery.html', items=items, **values))
    return page


def _with_pictures(out_dir: str, image: GalleryImage, tasks: Sequence[Task],
                   longest: int) -> dict:
    """URLs of an image, and the size of its pictures, after those that are
    missing were made."""
    drawn = [task for task in tasks if task.name in image.labels]
    thumbnail, layers = _paths(out_dir, image.name, [t.name for t in drawn])
    if not _is_current([thumbnail, *layers.values()],
                       [image.photograph, *image.labels.values()], longest):
        photograph, shape = read_photograph(image.photograph, longest)
        labels = {}
        for task in drawn:
            path = image.labels[task.name]
            plane = read_labels(path)
            if plane.shape != shape:
                raise ValueError(
                    f'{path}: has {plane.shape} rows and columns, its '
                    f'photograph {image.photograph} {shape}; predict it '
                    'again.')
            labels[task.name] = DrawnTask(plane, task)
        write_pictures(out_dir, image.name, photograph, labels, longest)
    with Image.open(thumbnail) as small:
        found = dict(size=small.size, thumbnail=link_to(thumbnail, out_dir))
    links = dict(photograph=image.photograph) | image.links
    return found | dict(
        layers={
            t: link_to(path, out_dir)
            for t, path in layers.items()
        },
        links=[(text, link_to(path, out_dir)) for text, path in links.items()])


def read_photograph(path: str,
                    longest: int) -> tuple[np.ndarray, tuple[int, int]]:
    """Read a photograph as it is displayed, RGB, roughly at a small size of at
    least ``longest`` pixels, and its own height and width."""
    photograph = EncodedPhotograph(path)
    side = max(photograph.shape)
    # JPEG files can be decoded small, which takes a fraction of the time
    factors = (8, 4, 2) if photograph.can_reduce else ()
    factor = next((f for f in factors if side >= longest * f), 1)
    return photograph.decode(factor), photograph.shape


def _is_current(made: Sequence[str], sources: Sequence[str],
                longest: int) -> bool:
    """Whether pictures of this size are there, not older than what they
    show."""
    if not all(map(osp.isfile, made)) or \
            min(map(osp.getmtime, made)) < max(map(osp.getmtime, sources)):
        return False
    with Image.open(made[0]) as small:
        return max(small.size) == longest


def write_pictures(out_dir: str,
                   name: str,
                   photograph: np.ndarray,
                   labels: Mapping[str, DrawnTask],
                   longest: int = THUMBNAIL) -> None:
    """Draw and write the page's pictures of one image, which
    :func:`write_gallery` then keeps: for those who have the arrays at hand.

    The photograph may be smaller than its labels; ``longest`` is the longer
    side of what is drawn.
    """
    small = shrink(photograph, longest)
    thumbnail, layers = _paths(out_dir, name, labels)
    for task, path in layers.items():
        layer = draw_layer(labels[task], small.shape[1::-1])
        save_image(path, layer, optimize=True)
    save_image(thumbnail, small, quality=85, optimize=True)


def _paths(out_dir: str, name: str,
           tasks: Iterable[str]) -> tuple[str, dict[str, str]]:
    """Files of an image's thumbnail, and of its layers by task."""
    base = osp.join(out_dir, PICTURES, file_name(name))
    return f'{base}.jpg', {task: f'{base}.{task}.png' for task in tasks}


def file_name(name: str) -> str:
    """Make a file name of an image's name, whatever that holds."""
    safe = re.sub(r'[^A-Za-z0-9._-]+', '_', name).lstrip('.')[:100]
    # different names must not become alike
    return safe if safe == name else f'{safe}-{zlib.crc32(name.encode()):08x}'
