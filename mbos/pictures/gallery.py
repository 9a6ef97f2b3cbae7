"""A page to look at a folder of predictions with."""
import os.path as osp
import re
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from PIL import Image

from mbos.io.files import save_image, save_text, without_nan
from mbos.io.labels import read_labels
from mbos.io.photographs import EncodedPhotograph
from mbos.painter import LabelMaps, draw_layer, fitted_size
from mbos.tasks import Task
from .document import css_colours, link_to, render_page

PAGE = 'gallery.html'
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
    measurements: Mapping[str,
                          float | str | None] = field(default_factory=dict)
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
    twice = Counter(image.name for image in images) - Counter(
        {image.name
         for image in images})
    unknown = {t for image in images for t in image.labels}
    unknown -= {task.name for task in tasks}
    if twice or unknown:
        raise ValueError(
            'Images of the gallery need names that differ, and labels of its '
            f'tasks, {", ".join(task.name for task in tasks)}; got '
            f'{", ".join(map(repr, [*twice, *unknown]))}.')
    columns = list(dict.fromkeys(c for i in images for c in i.measurements))

    def make_item(image: GalleryImage) -> dict:
        values = [image.measurements.get(column) for column in columns]
        return _make_pictures(out_dir, image, tasks, thumbnail) | dict(
            name=image.name, flags=list(image.flags), values=values)

    with ThreadPoolExecutor(THREADS) as pool:
        items = without_nan(list(pool.map(make_item, images)))
    page = osp.join(out_dir, PAGE)
    save_text(
        page,
        render_page(
            'gallery.html',
            title=title,
            note=note,
            items=items,
            tasks=[
                dict(name=t.name, nested=t.nested, classes=css_colours(t))
                for t in tasks
            ],
            columns=columns))
    return page


def _make_pictures(out_dir: str, image: GalleryImage, tasks: Sequence[Task],
                   longest: int) -> dict:
    """Make what pictures of an image are missing; URLs and size."""
    thumbnail, layers = _paths(
        out_dir, image.name, [t.name for t in tasks if t.name in image.labels])
    if not _is_current([thumbnail, *layers.values()],
                       [image.photograph, *image.labels.values()], longest):
        photograph, size = read_photograph(image.photograph, longest)
        planes = {t: read_labels(path) for t, path in image.labels.items()}
        for task, plane in planes.items():
            if plane.shape != size[::-1]:
                raise ValueError(
                    f'{image.labels[task]}: has {plane.shape[1]}x'
                    f'{plane.shape[0]} pixels, its photograph '
                    f'{image.photograph} {size[0]}x{size[1]}; predict it '
                    'again.')
        write_pictures(out_dir, image.name, photograph, planes, tasks, longest,
                       size)
    links = dict(photograph=image.photograph) | image.links
    with Image.open(thumbnail) as small:
        return dict(
            size=small.size,
            thumbnail=link_to(thumbnail, out_dir),
            layers={
                t: link_to(path, out_dir)
                for t, path in layers.items()
            },
            links=[(text, link_to(p, out_dir)) for text, p in links.items()])


def read_photograph(path: str,
                    longest: int) -> tuple[Image.Image, tuple[int, int]]:
    """Read a photograph as it is displayed, RGB, roughly at a small size of at
    least ``longest`` pixels, and its own width and height.

    Raises:
        ValueError: If it cannot be read.
    """
    photograph = EncodedPhotograph(path)
    height, width = photograph.shape
    # JPEG files can be decoded small, which takes a fraction of the time
    factors = (8, 4, 2) if photograph.can_reduce else ()
    factor = next((f for f in factors if max(height, width) >= longest * f), 1)
    return Image.fromarray(photograph.decode(factor)), (width, height)


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
                   photograph: Image.Image,
                   labels: LabelMaps,
                   tasks: Sequence[Task],
                   longest: int = THUMBNAIL,
                   size: tuple[int, int] | None = None) -> None:
    """Draw and write the page's pictures of one image, which
    :func:`write_gallery` then keeps: for those who have the arrays at hand.

    ``size`` is width and height of the photograph where the picture given is a
    smaller one, ``longest`` the longer side of what is drawn.
    """
    small = fitted_size(*(size or photograph.size), longest)
    thumbnail, layers = _paths(out_dir, name, labels)
    for task in tasks:
        if task.name in labels:
            layer = draw_layer(labels[task.name], task, small)
            save_image(layers[task.name], layer, optimize=True)
    save_image(
        thumbnail,
        photograph.resize(small, Image.Resampling.LANCZOS, reducing_gap=2.0),
        quality=85,
        optimize=True)


def _paths(out_dir: str, name: str,
           tasks: Iterable[str]) -> tuple[str, dict[str, str]]:
    """Files of an image's thumbnail, and of its layers by task."""
    base = osp.join(out_dir, PICTURES, file_name(name))
    return f'{base}.jpg', {task: f'{base}.{task}.png' for task in tasks}


def file_name(name: str) -> str:
    """Make a file name of an image's name, whatever that holds."""
    safe = re.sub(r'[^A-Za-z0-9._-]+', '_', name).lstrip('.')[:100]
    if safe == name:
        return safe
    # different names must not become alike
    return f'{safe}-{zlib.crc32(name.encode()):08x}'
