"""Folders of label masks, some of which label only some classes of a task."""
import os.path as osp
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from mbos.tasks import IGNORE_INDEX, Task

KEYS = ('path', 'classes', 'binary')


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
        if len(self.values) > 1:
            return None
        table = np.arange(256, dtype=np.uint8)
        if self.binary:
            table[1:] = self.values[0]
        elif self.values[0] == 1:
            return None
        else:
            table[1] = self.values[0]
        return table

    def outermost(self) -> 'LabelFolder':
        """The folder as masks of any values of the first class."""
        return replace(self, classes=self.task.classes[:1], binary=True)

    def problem_of_values(self,
                          found: list[int],
                          allow_unlabelled: bool = False) -> str | None:
        """Say what is wrong with the values that occur in a mask, if anything.

        Masks of 0 and 255 alone are only good with ``allow_unlabelled``.
        """
        if self.binary:
            return None
        task, top = self.task, self.task.num_classes
        names = dict(enumerate(task.classes, 1))

        def shown(values) -> str:
            return ', '.join(f'{v} {names[v]}' for v in values)

        expected = (f'task {task.name!r} expects 0 background, {shown(names)},'
                    f' {IGNORE_INDEX} ignored')
        outside = [v for v in found if top < v != IGNORE_INDEX]
        if outside:
            return (f'label value(s) {", ".join(map(str, outside[:8]))} out '
                    f'of range: {expected}; prepare the masks with '
                    'prepare_dataset, or map their values.')
        labelled = [v for v in found if 0 < v <= top]
        if IGNORE_INDEX in found and not labelled and not allow_unlabelled:
            remedy = (', or say binary=True beside its path in ann_dirs'
                      if len(self.classes) == 1 else '')
            return (f'has the values {found} only, which looks like a 0/255 '
                    f'mask: {expected}, so 255 would not be learnt; write 1 '
                    'instead of 255 (prepare_dataset does)'
                    f'{remedy}. If 255 does mean ignored here, set '
                    'allow_unlabelled=True.')
        allowed = set(self.values)
        if len(allowed) == 1 and self.values[0] not in found:
            allowed.add(1)
        wrong = [v for v in labelled if v not in allowed]
        if not wrong:
            return None
        named = ', '.join(f'{v} ({names[v]})' for v in wrong)
        return (f'label value(s) {named} contradict the labelled classes of '
                f'task {task.name!r}: expected 0 background, '
                f'{shown(self.values)}, {IGNORE_INDEX} ignored; correct '
                '`classes` in the config, or map the values of the masks.')


def read_entry(entry: str | dict, task: Task, root: str = '') -> LabelFolder:
    """Read an entry of ``ann_dirs`` or ``pseudo_dirs``: a folder below
    ``root``, or a dict of ``path``, ``classes`` and ``binary``.

    Raises:
        ValueError: If the entry is malformed or names unknown classes.
    """
    path = osp.join(root, path_of(entry))
    given = {} if isinstance(entry, str) else entry
    classes = given.get('classes')
    classes = task.part(task.classes if classes is None else classes).classes
    binary = bool(given.get('binary', False))
    if binary and len(classes) > 1:
        raise ValueError(
            f'binary=True is for masks of a single class, but those of task '
            f'{task.name!r} label {", ".join(classes)}; name the one class '
            'in `classes`.')
    return LabelFolder(path, task, classes, binary)


def read_entries(entries: Mapping, tasks: Sequence[Task], root: str | None,
                 dataset: str) -> dict[str, LabelFolder]:
    """Read all of ``ann_dirs`` or ``pseudo_dirs``, by task.

    Raises:
        ValueError: As :func:`read_entry`, with the dataset's name.
    """
    known = {task.name: task for task in tasks}
    try:
        return {
            name: read_entry(entry, known[name], root or '')
            for name, entry in entries.items()
        }
    except ValueError as error:
        raise ValueError(f'Dataset {dataset!r}: {error}') from error


def path_of(entry: str | dict) -> str:
    """The folder that an entry of ``ann_dirs`` or ``pseudo_dirs`` names.

    Raises:
        ValueError: If the entry is malformed.
    """
    path = entry.get('path') if isinstance(entry, Mapping) else entry
    if not isinstance(path, str) or (entry is not path
                                     and set(entry) - set(KEYS)):
        raise ValueError('expected a folder or dict(path=folder, '
                         f'classes=[...]) in ann_dirs or pseudo_dirs, got '
                         f'{entry!r}.')
    return path


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
