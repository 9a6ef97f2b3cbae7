"""What a collection is: its splits and label folders."""
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mbos.tasks import BUILTIN_TASKS, Task
from .layout import Found


@dataclass(frozen=True)
class Labels:
    """The masks of one folder."""
    largest: int = 1  # label value
    may_be_empty: bool = False  # as of an eye without lesions
    optional: bool = False  # photographs may lack it, as a second observer's
    task: str = ''  # built-in task that they label; '' for another one

    @property
    def shown_as(self) -> Task:
        """Task: Its colours are those of pictures and of the label PNGs."""
        unnamed = tuple(map(str, range(1, self.largest + 1)))
        return BUILTIN_TASKS.get(self.task) or Task('other', unnamed)


SECOND_OBSERVER = Labels(may_be_empty=True, optional=True, task='vessel')
"""Labels: Nobody trains on it, so nothing depends on what it shows."""
FIELD_OF_VIEW = Labels(optional=True)
"""Labels: ``fov``, which trees of the published release do not have."""


@dataclass(frozen=True)
class Split:
    """A split; ``crop`` is ``'fov'`` (to the field of view, then pad to a
    square), ``'pad'`` (only pad) or ``'none'``.
    """
    expected: int  # photographs in the owner's release
    crop: str = 'fov'
    folder: str | None = None  # None is the split's name
    may_lack_labels: bool = False  # as the owner publishes it


@dataclass(frozen=True)
class Collection:
    """A collection; ``find(raw, split)`` returns what the raw folder holds of
    a split, or None if it holds nothing of it.
    """
    name: str  # for messages
    folder: str  # of the prepared collection
    find: Callable[[Path, str], Found | None]
    splits: Mapping[str, Split]
    labels: Mapping[str, Labels] = field(
        default_factory=lambda: dict(ann=Labels(task='vessel')))
    image_suffix: str = '.jpg'
    with_images: bool = True  # or labels only
    recipe: Mapping[str, object] = field(default_factory=dict)  # must not vary

    def split_folder(self, name: str) -> str:
        """Folder of a split, below that of the collection."""
        folder = self.splits[name].folder
        return name if folder is None else folder
