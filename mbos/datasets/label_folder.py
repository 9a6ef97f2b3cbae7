"""Folders of label masks, some of which label only some classes of a task."""
import os.path as osp
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from PIL import Image

from mbos.io.labels import read_labels, translate
from mbos.io.photographs import Layout
from mbos.tasks import IGNORE_INDEX, Task

TRUTH, PSEUDO, ABSENT = 'truth', 'pseudo', 'absent'
KINDS = dict(ann_dirs=TRUTH, pseudo_dirs=PSEUDO)
"""dict[str, str]: Kind of the planes that a key of a dataset names."""


@dataclass(frozen=True)
class LabelFolder:
    """A folder of masks that label a task, or only some classes of it.

    Masks have the label values of the task. Where a single class is labelled,
    1 means it, too. In ``binary`` masks, as those of 0 and 255, every value
    but 0 means the one class that is labelled, and no pixel is ignored.
    """

    path: str
    task: Task
    classes: Sequence[str] | None = None
    binary: bool = False
    suffix: str = '.png'
    kind: str = TRUTH

    def __post_init__(self):
        given = self.task.classes if self.classes is None else self.classes
        object.__setattr__(self, 'classes', self.task.part(given).classes)
        if self.binary and len(self.classes) > 1:
            raise ValueError(
                'binary=True is for masks of a single class, but those of '
                f'task {self.task.name!r} label {", ".join(self.classes)}; '
                'name the one class in `classes`.')

    @property
    def is_complete(self) -> bool:
        """Whether all classes of the task are labelled."""
        return len(self.classes) == self.task.num_classes

    def file(self, stem: str) -> str:
        """The mask of an image."""
        return osp.join(self.path, stem + self.suffix)

    def read(self,
             stem: str,
             layout: Layout,
             read: Callable[[str], np.ndarray] = read_labels) -> np.ndarray:
        """Read the mask of an image, (H, W) uint8, upright as the image and in
        the task's label values; a ValueError says why it cannot be. ``read``
        gets a file's label values.
        """
        return translate(self._upright(stem, layout, read), self._translation)

    def _upright(self, stem, layout, read=read_labels) -> np.ndarray:
        labels = read(self.file(stem))
        if self.kind != PSEUDO:  # those were made of the upright image
            labels = layout.turn_mask(labels)
        if labels.shape != layout.shape:
            raise ValueError(
                f'{self.file(stem)}: the mask has shape {labels.shape}, its '
                f'image {layout.shape} (height, width); prepare both with the '
                'same crop.')
        return labels

    @property
    def _values(self) -> list[int]:
        """The task's label values of the labelled classes."""
        return [i + 1 for i in self.task.channels(self.classes)]

    @cached_property
    def _translation(self) -> np.ndarray | None:
        """The task's label by value of the masks, None where they are equal.
        """
        if len(self.classes) > 1:
            return None
        table = np.arange(256, dtype=np.uint8)
        table[1:256 if self.binary else 2] = self._values[0]
        return table

    def problem(self,
                stem: str,
                layout: Layout,
                allow_unlabelled: bool = False) -> str | None:
        """A sentence on what is wrong with the mask of an image, None if it is
        good; those of 0 and 255 alone are only good with ``allow_unlabelled``.
        """
        try:
            counts = Image.fromarray(self._upright(stem, layout)).histogram()
        except ValueError as error:
            return str(error)
        found = set(np.flatnonzero(counts).tolist()) - {0}
        known = set(self._values)
        if len(known) == 1 and not known & found:
            known = {1}
        wrong = sorted(found - known - {IGNORE_INDEX})
        if self.binary or not wrong and (allow_unlabelled
                                         or found != {IGNORE_INDEX}):
            return None
        classes = ', '.join(map('{} {}'.format, self._values, self.classes))
        return (
            f'{self.file(stem)}: has label values {(wrong or [0, 255])[:8]}, '
            f'but task {self.task.name!r} expects 0 background, {classes}, '
            f'{IGNORE_INDEX} ignored: prepare the masks with prepare_dataset, '
            'map their values, or correct `classes` of the folder; masks of 0 '
            'and 255 need binary=True beside the path in ann_dirs (of one '
            'class), or allow_unlabelled=True if 255 does mean ignored.')


def read_entries(member: Mapping, key: str,
                 tasks: Sequence[Task]) -> dict[str, LabelFolder]:
    """Read ``ann_dirs`` or ``pseudo_dirs`` of a dataset's config, by task:
    folders below ``data_root``, or dicts with ``path``, ``classes`` and
    ``binary``; a ValueError says what is wrong.
    """
    known = {task.name: task for task in tasks}
    more = dict(suffix=member.get('ann_suffix', '.png'), kind=KINDS[key])
    found = {}
    for name, entry in (member.get(key) or {}).items():
        try:
            if name not in known:
                raise ValueError(f'unknown task; there are {", ".join(known)}')
            given = dict(path=entry) if isinstance(entry, str) else {**entry}
            path = osp.join(member.get('data_root') or '', given.pop('path'))
            found[name] = LabelFolder(path, known[name], **given, **more)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f'Dataset {member.get("name")!r}, {key}, {name}: '
                             f'{error}') from error
    return found


def labelled_classes(task: Task,
                     truths: Iterable[Mapping[str, LabelFolder]]) -> set[str]:
    """Classes of a task of which some of the datasets' ``ann_dirs``, as
    :func:`read_entries` returns them, have truth.
    """
    folders = [truth[task.name] for truth in truths if task.name in truth]
    return {label for folder in folders for label in folder.classes}
