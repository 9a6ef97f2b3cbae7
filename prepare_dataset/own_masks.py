"""Masks of one's own collection: which tasks they label, and their values.

What the user can correct is raised as ``PrepareError``.
"""
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import partial
from pathlib import Path

from mbos.tasks import BUILTIN_TASKS, IGNORE_INDEX, Task
from .description import SECOND_OBSERVER, Labels
from .errors import PrepareError
from .labels import binary, decoded, merge_classes, selected
from .layout import taken
from .patterns import MaskPattern, Photograph, named

SHOWN_BY_ALL = (BUILTIN_TASKS['vessel'], BUILTIN_TASKS['odoc'])
"""tuple[Task]: Tasks of which every eye shows something."""


class MissingMaskError(PrepareError):
    """A photograph has no mask where there should be one."""


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
            raise PrepareError(f'{option} {text!r}: expected {expected}.')
        if name in pairs:
            raise PrepareError(f'{option} names {name} twice.')
        pairs[name] = value
    return pairs


def _check_known(option: str, names: Iterable[str],
                 known: Iterable[str]) -> None:
    """Refuse options about masks that are not given."""
    for name in names:
        if name not in known:
            raise PrepareError(f'{option} names {name}, for which --masks '
                               'gives nothing; it gives '
                               f'{", ".join(known) or "nothing"}.')


def tasks_of(keys: Sequence[str], classes: Mapping[str, str],
             nested: Sequence[str]) -> dict[str, Task]:
    """Find out the classes of the tasks that masks are given for.

    ``classes`` ('a,b' by task) and ``nested`` are those that are given. A task
    that is neither built in nor described has the classes that have masks, or
    one of its own name.
    """
    with_masks: dict[str, list[str]] = {}
    for key in keys:
        folder, _, name = key.partition('.')
        found = with_masks.setdefault(folder.partition('-')[0], [])
        found += [name] if name and name not in found else []
    _check_known('--classes', classes, with_masks)
    _check_known('--nested', nested, with_masks)
    tasks = {}
    for name, found in with_masks.items():
        task = BUILTIN_TASKS.get(name)
        if task is None or name in classes:
            chosen = classes[name].split(',') if name in classes else found
            try:
                task = Task(
                    name,
                    tuple(chosen) or (name, ),
                    nested=name in nested or bool(task and task.nested))
            except ValueError as error:
                raise PrepareError(f'--classes: {error}') from None
        for wrong in set(found) - set(task.classes):
            near = get_close_matches(wrong, task.classes, 1, 0.1)
            raise PrepareError(
                f'--masks {name}.{wrong}: the classes of {name} are '
                f'{", ".join(task.classes)}' +
                (f'; did you mean {near[0]}?' if near else '.') +
                f' Others are given by --classes {name}=...')
        tasks[name] = task
    return tasks


def parse_values(key: str, text: str, classes: Sequence[str]) -> dict:
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
        raise PrepareError(
            f'--values {key}={text}: cannot be understood ({error}); expected '
            'values of 0 to 255, as in vessel=128-255 or '
            'odoc=disc:128,cup:0,background:255, of '
            f'{", ".join(labels)}.') from None
    return meanings


def match_masks(pairs: Mapping[str, str], tasks: Mapping[str,
                                                         Task], folder: Path,
                photographs: Sequence[Photograph]) -> list[Masks]:
    """Find out where the masks of each label folder are."""
    patterns: dict[str, dict[str, MaskPattern]] = {}
    for key, pattern in pairs.items():
        name, _, kind = key.partition('.')
        kinds = patterns.setdefault(name, {})
        kinds[kind] = MaskPattern(key, pattern, folder, photographs)
        if '' in kinds and len(kinds) > 1:
            raise PrepareError(
                f'--masks gives {name} one mask of all classes and masks of '
                'single classes; leave one of the two out.')
    return [
        Masks(name, tasks[name.partition('-')[0]], kinds)
        for name, kinds in patterns.items()
    ]


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
            raise PrepareError(taken(photograph.path, other.path))
    return list(rest)


class Reader:
    """Makes the label readers of photographs.

    ``values`` are the meanings of values by key of the masks, ``optional`` the
    keys of masks that photographs may lack, which then show nothing of it.
    """

    def __init__(self, masks: Sequence[Masks], values: Mapping[str, str],
                 optional: Sequence[str]):
        self.masks = masks
        self.optional = set(optional)
        self.patterns = {p.key: p for m in masks for p in m.patterns.values()}
        self.used: set[Path] = set()
        _check_known('--values', values, self.patterns)
        _check_known('--optional', optional, self.patterns)
        self.values = {
            pattern.key:
            parse_values(pattern.key, values[pattern.key],
                         (kind, ) if kind else m.task.classes)
            for m in masks
            for kind, pattern in m.patterns.items() if pattern.key in values
        }

    def recipe(self) -> dict[str, dict]:
        """What the labels depend on, by label folder, to be recorded."""
        recipe = {}
        for masks in self.masks:
            patterns = masks.patterns.values()
            values = {
                p.key: sorted(map(list, self.values[p.key].items()))
                for p in patterns if p.key in self.values
            }
            recipe[masks.folder] = dict(
                classes=list(masks.task.classes),
                masks=[p.text for p in patterns],
                values=values)
        return recipe

    def labels(self, photograph: Photograph) -> dict:
        """Make the readers of one photograph."""
        return {m.folder: self._label(m, photograph) for m in self.masks}

    def _label(self, masks: Masks, photograph: Photograph):
        task, paths = masks.task, {
            kind: self._find(pattern, photograph)
            for kind, pattern in masks.patterns.items()
        }
        if '' not in paths:
            single = [(task.classes.index(name) + 1, paths[name],
                       self._accepted(masks.patterns[name].key))
                      for name in masks.labelled]
            return partial(merge_classes, single, task.nested)
        path, key = paths[''], masks.patterns[''].key
        if path is None:
            return partial(merge_classes, [])
        if task.num_classes > 1:
            same = {k: k for k in (*range(task.num_classes + 1), IGNORE_INDEX)}
            return partial(decoded, path, self.values.get(key) or same)
        if key in self.values:
            return partial(selected, path, self._accepted(key))
        return partial(binary, path)

    def _accepted(self, key: str) -> list[int]:
        """Values of a mask of one class that stand for it."""
        return [v for v, label in self.values.get(key, {}).items() if label]

    def _find(self, pattern: MaskPattern,
              photograph: Photograph) -> Path | None:
        path = pattern.find(photograph)
        if path is None and pattern.key not in self.optional:
            raise MissingMaskError(
                f'{pattern.lack(photograph)}leave such photographs out with '
                f'--skip-unlabelled, or add --optional {pattern.key} if they '
                'show nothing of it.')
        if path is not None:
            self.used.add(path)
        return path

    def left_over(self) -> list[str]:
        """Notes about masks that belong to no photograph."""
        rest = {
            pattern.text: sorted(pattern.all_files() - self.used)
            for pattern in self.patterns.values()
        }
        return [
            f'{len(files)} files fit {text} but belong to no photograph that '
            f'is prepared: {named(files)}.' for text, files in rest.items()
            if files
        ]
