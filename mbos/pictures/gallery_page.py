"""The page over a folder of predictions."""
from dataclasses import dataclass, field
from typing import Mapping, Optional, Sequence, Tuple, Union

from mbos.tasks import Task
from .document import css_colours, render_page

Measurement = Union[float, int, str, None]


@dataclass(frozen=True)
class Layer:
    """A transparent picture that the page lays over the photograph.

    Attributes:
        task (str): Name of the task.
        source (str): URL, relative to the page.
    """

    task: str
    source: str


@dataclass(frozen=True)
class GalleryItem:
    """What the page shows of one image.

    Attributes:
        name (str): Name of the image, unique on the page.
        thumbnail (str): URL of the small photograph, relative to the page.
        size (tuple[int, int]): Width and height of the thumbnail in pixels.
        layers (Sequence[Layer]): Of the same size, the lowest one first.
        measurements (dict): Numbers, or text, by name; None is undefined.
        flags (Sequence[str]): What is doubtful about the image.
        links (dict[str, str]): URLs of further files, by what they are.
    """

    name: str
    thumbnail: str
    size: Tuple[int, int]
    layers: Sequence[Layer] = ()
    measurements: Mapping[str, Measurement] = field(default_factory=dict)
    flags: Sequence[str] = ()
    links: Mapping[str, str] = field(default_factory=dict)


def render_gallery(items: Sequence[GalleryItem],
                   tasks: Sequence[Task],
                   title: str,
                   note: str = '') -> str:
    """Make the page.

    Args:
        items (Sequence[GalleryItem]): The images.
        tasks (Sequence[Task]): Of the layers, with their colours.
        title (str): Its heading.
        note (str): Stands below the heading. Default: ''.

    Returns:
        str: HTML.
    """
    columns = list(
        dict.fromkeys(key for item in items for key in item.measurements))
    data = [
        dict(
            name=item.name,
            flags=list(item.flags),
            links=list(item.links.items()),
            values=[_plain(item.measurements.get(key)) for key in columns])
        for item in items
    ]
    legend = [
        dict(name=t.name, nested=t.nested, classes=css_colours(t))
        for t in tasks
    ]
    return render_page(
        'gallery.html',
        title=title,
        note=note,
        items=items,
        tasks=legend,
        columns=columns,
        num_flagged=sum(bool(item.flags) for item in items),
        data=dict(columns=columns, images=data))


def _plain(value: Measurement) -> Optional[Union[float, str]]:
    """What JSON can tell: NaN and infinities are undefined."""
    if isinstance(value, float) and value - value != 0:
        return None
    return value
