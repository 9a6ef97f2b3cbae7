"""Masks of one's own collection: which tasks they label, and their values.

What the user can correct is raised as ``RefusedError``.
"""
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from mbos.io import RefusedError
from mbos.tasks import BUILTIN_TASKS, IGNORE_INDEX, Task
from .description import SECOND_OBSERVER, Labels
from .labels import decoded, merge
from .patterns import MaskPattern, Photograph

SHOWN_BY_ALL = (BUILTIN_TASKS['vessel'], BUILTIN_TASKS['odoc'])
"""tuple[Task]: Tasks of which every eye shows something."""


@dataclass(frozen=True)
class Masks:
    """Masks that become one label folder: one of all classes, whose pattern
    has the key '', or one of each class that has some.

    The folder is called like the task, or for a second observer like the task
    with ``-`` and more.
    """
    folder: str
    task: Task
    patterns: Mapping[str, MaskPattern]

    @property
    def labelled(self) -> tuple[str, ...]:
        """The classes that are labelled."""
        return tuple(c for c in self.task.classes
                     if '' in self.patterns or c in self.patterns)

    @property
    def is_second(self) -> bool:
        """Whether it is there to compare with, not to train on."""
        return self.folder != self.task.name

    def describe(self) -> Labels:
        """Describe the label folder for the check."""
        name, largest = self.task.name, self.task.num_classes
        if self.is_second:
            return replace(SECOND_OBSERVER, largest=largest, task=name)
        return Labels(largest, self.task not in SHOWN_BY_ALL, task=name)

    def reader(self, photograph: Photograph) -> Callable:
        """Make the label reader of one photograph; see ``labels.py``."""
        task, whole = self.task, self.patterns.get('')
        if whole and task.num_classes > 1:
            path = whole.find(photograph)
            same = {k: k for k in (*range(task.num_classes + 1), IGNORE_INDEX)}
            if path is None:
                return partial(merge, None)
            return partial(decoded, path, meanings=whole.values or same)
        of_classes = [whole or self.patterns.get(c) for c in task.classes]
        accepted = [
            [value for value, label in (p.values or {}).items()
             if label] if p else [] for p in of_classes
        ]
        return partial(
            merge,
            *(p and p.find(photograph) for p in of_classes),
            accepted=accepted,
            nested=task.nested)


def parse_pairs(
    option: str,
    texts: Iterable[str],
    key: str = r'\w+(-\w+)?(\.[\w-]+)?',
    expected: str = 'TASK=... or TASK.CLASS=..., such as '
    'vessel=... or odoc.disc=...'
) -> dict[str, str]:
    """Read ``key=value`` of the command line; ``key`` is what it must fit."""
    pairs: dict[str, str] = {}
    for text in texts:
        name, _, value = text.partition('=')
        if not (value and re.fullmatch(key, name)) or name in pairs:
            raise RefusedError(f'{option} {text!r}: expected {expected}, and '
                               'each name once.')
        pairs[name] = value
    return pairs


def masks_of(folder: Path, photographs: Sequence[Photograph],
             masks: Sequence[str], classes: Sequence[str],
             nested: Sequence[str], values: Sequence[str],
             optional: Sequence[str]) -> list[Masks]:
    """Find out what the options of the command say about masks, by label
    folder.
    """
    pairs = parse_pairs('--masks', masks)
    meanings = parse_pairs('--values', values)
    chosen = parse_pairs('--classes', classes, r'\w+')
    by_folder: dict[str, list[str]] = {}
    for key in pairs:
        name, _, kind = key.partition('.')
        by_folder.setdefault(name, []).append(kind)
    names = {folder.partition('-')[0] for folder in by_folder}
    for option, given in dict(
            classes=chosen, nested=nested, values=meanings,
            optional=optional).items():
        for name in given:
            if name not in (pairs if option in ('values',
                                                'optional') else names):
                raise RefusedError(f'--{option} names {name}, for which '
                                   '--masks gives nothing; it gives '
                                   f'{", ".join(pairs) or "nothing"}.')
    found = []
    for name, kinds in by_folder.items():
        own = name.partition('-')[0]
        known = [k for f, ks in by_folder.items() for k in ks
                 if f.partition('-')[0] == own]  # yapf: disable
        task = _task_of(own, known, chosen.get(own), own in nested)
        if '' in kinds and len(kinds) > 1:
            raise RefusedError(
                f'--masks gives {name} one mask of all classes and masks of '
                'single classes; leave one of the two out.')
        patterns = {}
        for kind in kinds:
            key = f'{name}.{kind}'.strip('.')
            labels = (kind, ) if kind else task.classes
            patterns[kind] = MaskPattern(
                key, pairs[key], folder, photographs,
                parse_values(key, meanings[key], labels)
                if key in meanings else None, key in optional)
        found.append(Masks(name, task, patterns))
    return found


def _task_of(name: str, kinds: Sequence[str], classes: str | None,
             nested: bool) -> Task:
    """A task that is neither built in nor described has the classes that have
    masks, or one of its own name.
    """
    found = dict.fromkeys(filter(None, kinds))
    task = BUILTIN_TASKS.get(name)
    if task is None or classes:
        chosen = tuple(classes.split(',') if classes else found) or (name, )
        try:
            nested = nested or bool(task and task.nested)
            task = Task(name, chosen, nested=nested)
        except ValueError as error:
            raise RefusedError(f'--classes: {error}') from None
    for wrong in found.keys() - set(task.classes):
        raise RefusedError(
            f'--masks {name}.{wrong}: the classes of {name} are '
            f'{", ".join(task.classes)}; others are given by --classes '
            f'{name}=...')
    return task


def parse_values(key: str, text: str,
                 classes: Sequence[str]) -> dict[int, int]:
    """Read what the values of a mask mean: label by value.

    ``text`` is ``128-255`` for a mask of one class, of which the rest is
    background, or ``disc:128,cup:0,background:255``; ``ignore`` stands for
    pixels that are not labelled. Labels count from 1 in the order of the
    classes.
    """
    labels = {name: k for k, name in enumerate(classes, 1)}
    labels.update(background=0, ignore=IGNORE_INDEX)
    meanings: dict[int, int] = {}
    try:
        for part in text.split(','):
            name, sign, numbers = part.rpartition(':')
            first, _, last = numbers.partition('-')
            values = range(int(first), int(last or first) + 1)
            if not values or values[0] < 0 or values[-1] > 255 or (
                    not sign and len(classes) > 1):
                raise ValueError(part)
            for value in values:
                label = labels[name] if sign else 1
                if meanings.setdefault(value, label) != label:
                    raise ValueError(f'{value} means two things')
    except (ValueError, KeyError) as error:
        raise RefusedError(
            f'--values {key}={text}: cannot be understood ({error}); expected '
            'values of 0 to 255, as in vessel=128-255 or '
            'odoc=disc:128,cup:0,background:255, of '
            f'{", ".join(labels)}.') from None
    return meanings
