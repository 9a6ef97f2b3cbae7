"""What a collection is: its splits and label folders."""
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mbos.tasks import BUILTIN_TASKS, Task
from .layout import Found


@dataclass(frozen=True)
class Labels:
    """The masks of one folder.

    Args:
        largest: Largest label value.
        may_be_empty: Whether a mask may show nothing, as that of an eye
            without lesions.
        optional: Whether photographs may lack it, as a second observer's.
        task: The built-in task that they label; '' for another one.
    """
    largest: int = 1
    may_be_empty: bool = False
    optional: bool = False
    task: str = ''

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
    """A split of a collection.

    Args:
        expected: Number of photographs in the owner's release.
        crop: ``'fov'`` crops to the field of view and pads to a square,
            ``'pad'`` only pads, ``'none'`` takes the photographs as they come.
        folder: Folder of the split; None is its name.
        may_lack_labels: Whether the owner publishes the photographs without
            any labels.
    """
    expected: int
    crop: str = 'fov'
    folder: str | None = None
    may_lack_labels: bool = False


@dataclass(frozen=True)
class Collection:
    """A collection, described.

    Args:
        name: Name for messages.
        folder: Folder of the prepared collection.
        find: ``find(raw, split)`` returns what the raw folder holds of a
            split, or None if it holds nothing of it.
        splits: Its splits.
        labels: Its label folders; by default ``ann`` of vessels, which every
            photograph shows.
        image_suffix: Suffix of the prepared images.
        with_images: Whether images are written, or labels only.
        published: Whether ``Split.expected`` is the number that an owner
            publishes.
        recipe: Options to record, see ``record.Record``.
        tree: Paths of the raw collection, for messages.
    """
    name: str
    folder: str
    find: Callable[[Path, str], Found | None]
    splits: Mapping[str, Split]
    labels: Mapping[str, Labels] = field(
        default_factory=lambda: dict(ann=Labels(task='vessel')))
    image_suffix: str = '.jpg'
    with_images: bool = True
    published: bool = True
    recipe: Mapping[str, object] = field(default_factory=dict)
    tree: tuple[str, ...] = ()

    def split_folder(self, name: str) -> str:
        """Folder of a split, below that of the collection."""
        folder = self.splits[name].folder
        return name if folder is None else folder
