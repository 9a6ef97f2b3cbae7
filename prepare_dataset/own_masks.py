"""Masks of one's own collection: which tasks they label, and their values.

What the user can correct is raised as ``RefusedError``.
"""
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import partial
from pathlib import Path

from mbos.io import RefusedError
from mbos.tasks import BUILTIN_TASKS, IGNORE_INDEX, Task
from .description import SECOND_OBSERVER, Labels
from .labels import binary, decoded, merge, selected
from .layout import taken
from .patterns import MaskPattern, Photograph

SHOWN_BY_ALL = (BUILTIN_TASKS['vessel'], BUILTIN_TASKS['odoc'])
"""tuple[Task]: Tasks of which every eye shows something."""


class MissingMaskError(RefusedError):
    """A photograph has no mask where there should be one."""


@dataclass(frozen=True)
class Masks:
    """Masks that become one label folder: one of all classes, whose pattern
    has the key '', or one of each class that has some.

    The folder is called like the task, or for a second observer like the task
    with ``-`` and more. ``values`` are labels by value, by the key of the
    pattern; a photograph may lack the masks whose keys are ``optional``.
    """
    folder: str
    task: Task
    patterns: Mapping[str, MaskPattern]
    values: Mapping[str, Mapping[int, int]]
    optional: frozenset[str]

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

    def recipe(self) -> dict:
        """What the labels depend on, to be recorded."""
        values = {
            self.patterns[key].key: sorted(map(list, meanings.items()))
            for key, meanings in self.values.items()
        }
        return dict(
            classes=list(self.task.classes),
            masks=[p.text for p in self.patterns.values()],
            values=values)

    def reader(self, photograph: Photograph) -> Callable:
        """Make the label reader of one photograph; see ``labels.py``."""
        paths = {key: self._find(key, photograph) for key in self.patterns}
        accepted = {
            key: [value for value, label in meanings.items() if label]
            for key, meanings in self.values.items()
        }
        if '' not in paths:
            return partial(
                merge,
                *map(paths.get, self.task.classes),
                accepted=[accepted.get(c, ()) for c in self.task.classes],
                nested=self.task.nested)
        path = paths['']
        if path is None:
            return partial(merge, None)
        if self.task.num_classes > 1:
            values = (*range(self.task.num_classes + 1), IGNORE_INDEX)
            same = dict(zip(values, values))
            return partial(decoded, path, meanings=self.values.get('', same))
        if '' in accepted:
            return partial(selected, path, accepted=accepted[''])
        return partial(binary, path)

    def _find(self, key: str, photograph: Photograph) -> Path | None:
        pattern = self.patterns[key]
        path = pattern.find(photograph)
        if path is None and pattern.key not in self.optional:
            raise MissingMaskError(
                f'{pattern.lack(photograph)}leave such photographs out with '
                f'--skip-unlabelled, or add --optional {pattern.key} if they '
                'show nothing of it.')
        return path


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
        if not (value and re.fullmatch(key, name)):
            raise RefusedError(f'{option} {text!r}: expected {expected}.')
        if name in pairs:
            raise RefusedError(f'{option} names {name} twice.')
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
    by_folder: dict[str, dict[str, str]] = {}
    for key in pairs:
        name, _, kind = key.partition('.')
        by_folder.setdefault(name, {})[kind] = key
    names = {folder.partition('-')[0] for folder in by_folder}
    for option, given, known in (('--classes', chosen, names), ('--nested',
                                                                nested, names),
                                 ('--values', meanings,
                                  pairs), ('--optional', optional, pairs)):
        for name in given:
            if name not in known:
                raise RefusedError(f'{option} names {name}, for which --masks '
                                   'gives nothing; it gives '
                                   f'{", ".join(known) or "nothing"}.')
    found = []
    for name, keys in by_folder.items():
        task = _task_of(name.partition('-')[0], by_folder, chosen, nested)
        if '' in keys and len(keys) > 1:
            raise RefusedError(
                f'--masks gives {name} one mask of all classes and masks of '
                'single classes; leave one of the two out.')
        found.append(
            Masks(
                name, task, {
                    kind: MaskPattern(key, pairs[key], folder, photographs)
                    for kind, key in keys.items()
                }, {
                    kind:
                    parse_values(key, meanings[key],
                                 (kind, ) if kind else task.classes)
                    for kind, key in keys.items() if key in meanings
                }, frozenset(optional)))
    return found


def _task_of(name: str, by_folder: Mapping[str, Mapping[str, str]],
             classes: Mapping[str, str], nested: Sequence[str]) -> Task:
    """A task that is neither built in nor described has the classes that have
    masks, or one of its own name.
    """
    found = list(
        dict.fromkeys(kind for folder, keys in by_folder.items()
                      if folder.partition('-')[0] == name for kind in keys
                      if kind))
    task = BUILTIN_TASKS.get(name)
    if task is None or name in classes:
        chosen = classes[name].split(',') if name in classes else found
        try:
            task = Task(
                name,
                tuple(chosen) or (name, ),
                nested=name in nested or bool(task and task.nested))
        except ValueError as error:
            raise RefusedError(f'--classes: {error}') from None
    for wrong in set(found) - set(task.classes):
        near = get_close_matches(wrong, task.classes, 1, 0.1)
        raise RefusedError(
            f'--masks {name}.{wrong}: the classes of {name} are '
            f'{", ".join(task.classes)}' +
            (f'; did you mean {near[0]}?' if near else '.') +
            f' Others are given by --classes {name}=...')
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
            if not sign and len(classes) > 1:
                raise ValueError(part)
            first, _, last = numbers.partition('-')
            values = range(int(first), int(last or first) + 1)
            if not values or values[0] < 0 or values[-1] > 255:
                raise ValueError(numbers)
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


def without_masks(photographs: Sequence[Photograph],
                  patterns: Iterable[MaskPattern]) -> list[Photograph]:
    """Leave out files that are the mask of another photograph, and refuse
    photographs of one name.
    """
    masks = set().union(*(pattern.all_files() for pattern in patterns))
    rest = [p for p in photographs if p.path not in masks] or photographs
    first: dict[str, Photograph] = {}
    for photograph in rest:
        other = first.setdefault(photograph.name.casefold(), photograph)
        if other is not photograph:
            raise RefusedError(taken(photograph.path, other.path))
    return list(rest)
