"""Folders of label masks, some of which label only some classes of a task."""
import os.path as osp
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from mbos.io.labels import read_labels, translate
from mbos.io.photographs import Layout
from mbos.tasks import IGNORE_INDEX, Task


@dataclass(frozen=True)
class LabelFolder:
    """A folder of masks of one task, and how to read them.

    Masks have the label values of the task. Where a single class is labelled,
    1 means this class, too, whatever its value. Where they are ``binary``,
    every value but 0 means the one class that is labelled, and no pixel is
    ignored, as in masks of 0 and 255.
    """

    path: str
    task: Task
    classes: tuple[str, ...]
    binary: bool = False
    suffix: str = '.png'
    is_pseudo: bool = False

    def file(self, stem: str) -> str:
        """The mask of an image."""
        return osp.join(self.path, stem + self.suffix)

    def read(self,
             stem: str,
             layout: Layout,
             read: Callable[[str], np.ndarray] = read_labels) -> np.ndarray:
        """Read the mask of an image, (H, W) uint8, upright as the image and in
        the task's label values.

        Raises:
            ValueError: If it cannot be read, or has another size.
        """
        labels = read(self.file(stem))
        if not self.is_pseudo:  # those were made of the upright image
            labels = layout.turn_mask(labels)
        if labels.shape != layout.shape:
            raise ValueError(
                f'{self.file(stem)}: the mask has shape {labels.shape}, its '
                f'image {layout.shape} (height, width); prepare both with the '
                'same crop.')
        return translate(labels, self.translation)

    @property
    def is_complete(self) -> bool:
        """Whether all classes of the task are labelled."""
        return len(self.classes) == self.task.num_classes

    @cached_property
    def values(self) -> tuple[int, ...]:
        """The task's label values of the labelled classes."""
        return tuple(i + 1 for i in self.task.channels(self.classes))

    @cached_property
    def translation(self) -> np.ndarray | None:
        """The task's label value by value of the masks, (256, ) uint8; None
        where they are the same.
        """
        if len(self.values) > 1 or not self.binary and self.values == (1, ):
            return None
        table = np.arange(256, dtype=np.uint8)
        table[1:256 if self.binary else 2] = self.values[0]
        return table

    def problem_of_values(self,
                          found: Sequence[int],
                          allow_unlabelled: bool = False) -> str | None:
        """Say what is wrong with the values that occur in a mask, if anything.

        Masks of 0 and 255 alone are only good with ``allow_unlabelled``.
        """
        if self.binary:
            return None
        classes = ', '.join(map('{} {}'.format, self.values, self.classes))
        expected = (f'task {self.task.name!r} expects 0 background, {classes},'
                    f' {IGNORE_INDEX} ignored')
        allowed = {*self.values}
        if len(allowed) == 1 and not allowed & {*found}:
            allowed = {1}
        wrong = [v for v in found if v not in (0, IGNORE_INDEX, *allowed)]
        if wrong:
            return (f'label value(s) {", ".join(map(str, wrong[:8]))} out of '
                    f'range: {expected}; prepare the masks with '
                    'prepare_dataset, map their values, or correct `classes` '
                    'of the folder in the config.')
        if IGNORE_INDEX in found and not (allowed & {*found}
                                          or allow_unlabelled):
            return (
                f'looks like a 0/255 mask: {expected}, so 255 would not be '
                'learnt; write 1 instead of 255, say binary=True beside '
                'the path in ann_dirs (of one class), or set '
                'allow_unlabelled=True if 255 does mean ignored.')
        return None


def read_entry(entry: str | Mapping,
               task: Task,
               root: str | None = None,
               **more) -> LabelFolder:
    """Read an entry of ``ann_dirs`` or ``pseudo_dirs``: a folder below
    ``root``, or a dict of ``path``, ``classes`` and ``binary``.

    Raises:
        ValueError: If the entry is malformed or names unknown classes.
    """
    given = dict(path=entry) if isinstance(entry, str) else entry
    if not isinstance(given, Mapping) or not isinstance(
            given.get('path'), str) or (set(given) -
                                        {'path', 'classes', 'binary'}):
        raise ValueError('expected a folder or dict(path=folder, '
                         f'classes=[...]) of task {task.name!r}, got '
                         f'{entry!r}.')
    classes = given.get('classes')
    classes = task.part(task.classes if classes is None else classes).classes
    if given.get('binary') and len(classes) > 1:
        raise ValueError(
            f'binary=True is for masks of a single class, but those of task '
            f'{task.name!r} label {", ".join(classes)}; name the one class '
            'in `classes`.')
    return LabelFolder(
        osp.join(root or '', given['path']), task, classes,
        bool(given.get('binary')), **more)


def read_entries(member: Mapping, key: str,
                 tasks: Sequence[Task]) -> dict[str, LabelFolder]:
    """Read all entries of a dataset's config under a key, by task.

    Raises:
        ValueError: As :func:`read_entry`, or if the task is unknown; with the
            dataset's name.
    """
    known = {task.name: task for task in tasks}
    found = {}
    for name, entry in (member.get(key) or {}).items():
        try:
            if name not in known:
                raise ValueError(f'unknown task {name!r}; the tasks are '
                                 f'{", ".join(known)}.')
            found[name] = read_entry(
                entry,
                known[name],
                member.get('data_root'),
                suffix=member.get('ann_suffix', '.png'),
                is_pseudo=key == 'pseudo_dirs')
        except ValueError as error:
            raise ValueError(
                f'Dataset {member.get("name")!r}, {key}: {error}') from error
    return found


def path_of(entry: str | Mapping) -> str:
    """The folder that an entry of ``ann_dirs`` or ``pseudo_dirs`` names."""
    return entry if isinstance(entry, str) else entry['path']


def labelled_classes(task: Task, members: Sequence[Mapping]) -> set[str]:
    """Classes of a task of which some of the dataset configs has ground truth.
    """
    entries = [(member.get('ann_dirs') or {}).get(task.name)
               for member in members]
    return {
        name
        for entry in entries if entry is not None
        for name in read_entry(entry, task).classes
    }
