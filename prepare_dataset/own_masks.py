"""Masks of one's own collection: which tasks they label, and their values."""
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import partial
from pathlib import Path

from .description import SECOND_OBSERVER, Labels
from .errors import PrepareError
from .labels import binary, decoded, merge_classes, selected
from .patterns import MaskPattern, Photograph, named, same_names

IGNORED = 255


class MissingMaskError(PrepareError):
    """A photograph has no mask where there should be one."""


@dataclass(frozen=True)
class OwnTask:
    """A task: its classes in the order of label values, whether each contains
    those after it, and whether an eye may show nothing of it.
    """
    name: str
    classes: tuple[str, ...]
    nested: bool = False
    may_be_empty: bool = True


TASKS = (OwnTask('vessel', ('vessel', ), may_be_empty=False),
         OwnTask('lesion', ('EX', 'HE', 'SE', 'MA')),
         OwnTask('odoc', ('disc', 'cup'), nested=True, may_be_empty=False))
"""tuple[OwnTask]: The tasks that are built into mbos."""


@dataclass
class Masks:
    """Masks that become one label folder: of all classes (``whole``), or of
    each class that has some (``single``).

    The folder is called like the task, or for a second observer like the task
    with ``-`` and more.
    """
    folder: str
    task: OwnTask
    whole: MaskPattern | None = None
    single: Mapping[str, MaskPattern] | None = None

    @property
    def patterns(self) -> list[MaskPattern]:
        """All patterns."""
        return [self.whole] if self.whole else list(self.single.values())

    @property
    def labelled(self) -> tuple[str, ...]:
        """The classes that are labelled."""
        if self.whole:
            return self.task.classes
        return tuple(c for c in self.task.classes if c in self.single)

    @property
    def is_second(self) -> bool:
        """Whether it is there to compare with, not to train on."""
        return self.folder != self.task.name

    def describe(self) -> Labels:
        """Describe the label folder for the check."""
        largest = len(self.task.classes)
        if self.is_second:
            return replace(
                SECOND_OBSERVER, largest=largest, task=self.task.name)
        return Labels(largest, self.task.may_be_empty, task=self.task.name)


def parse_pairs(option: str, texts: Iterable[str]) -> dict[str, str]:
    """Read ``key=value`` of the command line.

    Raises:
        PrepareError: If one is something else, or a key occurs twice.
    """
    pairs: dict[str, str] = {}
    for text in texts:
        key, sign, value = text.partition('=')
        if not (sign and value
                and re.fullmatch(r'\w+(-\w+)?(\.[\w-]+)?', key)):
            raise PrepareError(
                f'{option} {text!r}: expected TASK=... or TASK.CLASS=..., '
                'such as vessel=... or odoc.disc=....')
        if key in pairs:
            raise PrepareError(f'{option} names {key} twice.')
        pairs[key] = value
    return pairs


def parse_classes(texts: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Read ``task=class,class`` of the command line.

    Raises:
        PrepareError: If one is something else.
    """
    classes = {}
    for task, value in parse_pairs('--classes', texts).items():
        names = tuple(value.split(','))
        if '.' in task or '' in names or len(set(names)) < len(names):
            raise PrepareError(
                f'--classes {task}={value}: expected different names, such '
                'as lesion=EX,HE,SE,MA.')
        classes[task] = names
    return classes


def tasks_of(keys: Sequence[str], classes: Mapping[str, tuple[str, ...]],
             nested: Sequence[str]) -> dict[str, OwnTask]:
    """Find out the classes of the tasks that masks are given for.

    ``classes`` and ``nested`` are those that are given. A task that is neither
    built in nor described has the classes that have masks, or one of its own
    name.

    Raises:
        PrepareError: If something names an unknown task or class.
    """
    named_classes: dict[str, list[str]] = {}
    for key in keys:
        folder, _, name = key.partition('.')
        found = named_classes.setdefault(folder.partition('-')[0], [])
        found += [name] if name and name not in found else []
    known = {task.name: task for task in TASKS}
    for option, names in (('--classes', classes), ('--nested', nested)):
        for name in names:
            if name not in named_classes:
                raise PrepareError(f'{option} names the task {name}, for '
                                   'which --masks gives nothing.')
    tasks = {}
    for name, found in named_classes.items():
        task = known.get(name)
        if task is None or name in classes:
            task = OwnTask(name, classes.get(name,
                                             tuple(found) or (name, )),
                           name in nested or bool(task and task.nested))
        for wrong in set(found) - set(task.classes):
            near = get_close_matches(wrong, task.classes, 1, 0.1)
            raise PrepareError(
                f'--masks {name}.{wrong}: the classes of {name} are '
                f'{", ".join(task.classes)}' +
                (f'; did you mean {near[0]}?' if near else '.') +
                f' Others are given by --classes {name}=...')
        tasks[name] = task
    return tasks


def parse_numbers(text: str) -> list[int]:
    """Read ``255`` or ``128-255``.

    Raises:
        ValueError: If it is something else.
    """
    first, sign, last = text.partition('-')
    numbers = list(range(int(first), int(last if sign else first) + 1))
    if not numbers or not 0 <= numbers[0] <= numbers[-1] <= 255:
        raise ValueError(text)
    return numbers


def parse_values(key: str, text: str, classes: Sequence[str]) -> dict:
    """Read what the values of a mask mean: label by value.

    ``text`` is ``128-255`` for a mask of one class, of which the rest is
    background, or ``disc:128,cup:0,background:255``; ``ignore`` stands for
    pixels that are not labelled. Labels count from 1 in the order of the
    classes.

    Raises:
        PrepareError: If it is something else.
    """
    labels = {name: k for k, name in enumerate(classes, 1)}
    labels.update(background=0, ignore=IGNORED)
    meanings: dict[int, int] = {}
    try:
        for part in text.split(','):
            name, sign, numbers = part.rpartition(':')
            if not sign and len(classes) > 1:
                raise ValueError(part)
            for number in parse_numbers(numbers):
                label = labels[name] if sign else 1
                if meanings.setdefault(number, label) != label:
                    raise ValueError(f'{number} means two things')
    except (ValueError, KeyError) as error:
        raise PrepareError(
            f'--values {key}={text}: cannot be understood ({error}); expected '
            'values of 0 to 255, as in vessel=128-255 or '
            'odoc=disc:128,cup:0,background:255, of '
            f'{", ".join(labels)}.') from None
    return meanings


def match_masks(pairs: Mapping[str, str], tasks: Mapping[str, OwnTask],
                folder: Path,
                photographs: Sequence[Photograph]) -> list[Masks]:
    """Find out where the masks of each label folder are.

    Raises:
        PrepareError: If a pattern fits nothing, or a task is given both one
            mask and masks of its classes.
    """
    patterns: dict[str, dict[str, MaskPattern]] = {}
    for key, pattern in pairs.items():
        name, _, kind = key.partition('.')
        if name == 'fov' or name == 'images':
            raise PrepareError(f'--masks {name}=...: a task cannot be called '
                               f'{name}' +
                               (', use --fov.' if name == 'fov' else '.'))
        patterns.setdefault(name,
                            {})[kind] = MaskPattern(key, pattern, folder,
                                                    photographs)
    masks = []
    for name, kinds in patterns.items():
        if '' in kinds and len(kinds) > 1:
            raise PrepareError(
                f'--masks gives {name} one mask of all classes and masks of '
                'single classes; leave one of the two out.')
        task = tasks[name.partition('-')[0]]
        masks.append(
            Masks(name, task, kinds['']) if '' in
            kinds else Masks(name, task, None, kinds))
    return masks


def without_masks(photographs: Sequence[Photograph],
                  label_folders: Sequence[Masks],
                  fields_of_view: MaskPattern | None) -> list[Photograph]:
    """Leave out files that are the mask of another photograph.

    Raises:
        PrepareError: If two photographs have one name.
    """
    patterns = [p for m in label_folders for p in m.patterns]
    masks = set()
    for pattern in patterns + ([fields_of_view] if fields_of_view else []):
        masks |= pattern.all_files()
    rest = [p for p in photographs if p.path not in masks] or photographs
    problems = same_names(rest)
    if problems:
        raise PrepareError(problems[0])
    return list(rest)


class Reader:
    """Makes the label readers of photographs.

    ``values`` are the meanings of values by key of the masks, ``optional`` the
    keys of masks that photographs may lack, which then show nothing of it.

    Raises:
        PrepareError: If a key is not one of the masks.
    """

    def __init__(self, masks: Sequence[Masks], values: Mapping[str, str],
                 optional: Sequence[str]):
        self.masks = masks
        self.optional = set(optional)
        self.used: dict[str, dict[Path, Photograph]] = {}
        keys = {p.key: m for m in masks for p in m.patterns}
        for option, names in (('--values', values), ('--optional', optional)):
            for name in names:
                if name not in keys:
                    raise PrepareError(
                        f'{option} names {name}, for which --masks gives '
                        f'nothing; it gives {", ".join(keys) or "nothing"}.')
        self.values = {
            key:
            parse_values(
                key, text, keys[key].task.classes if keys[key].whole else
                (key.partition('.')[2], ))
            for key, text in values.items()
        }

    def recipe(self) -> dict[str, dict]:
        """What the labels depend on, by label folder, to be recorded."""
        return {
            masks.folder:
            dict(
                classes=list(masks.task.classes),
                masks=[pattern.text for pattern in masks.patterns],
                values={
                    pattern.key:
                    sorted(map(list, self.values[pattern.key].items()))
                    for pattern in masks.patterns if pattern.key in self.values
                })
            for masks in self.masks
        }

    def labels(self, photograph: Photograph) -> dict:
        """Make the readers of one photograph.

        Raises:
            PrepareError: If a mask is missing, two fit, or one is used twice.
        """
        return {m.folder: self._label(m, photograph) for m in self.masks}

    def _label(self, masks: Masks, photograph: Photograph):
        if masks.whole is None:
            found = [(masks.task.classes.index(name) + 1, name)
                     for name in masks.labelled]
            return partial(merge_classes,
                           [(value, self._find(masks.single[name], photograph),
                             self._accepted(masks.single[name].key))
                            for value, name in found], masks.task.nested)
        path = self._find(masks.whole, photograph)
        key = masks.whole.key
        if path is None:
            return partial(merge_classes, [])
        if len(masks.task.classes) > 1:
            return partial(
                decoded, path,
                self.values.get(key) or
                {k: k
                 for k in (*range(len(masks.task.classes) + 1), IGNORED)})
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
                f'{photograph.path}: has no mask {pattern.text}; expected '
                f'{pattern.expected(photograph)}. Add it, or leave such '
                'photographs out with --skip-unlabelled, or add --optional '
                f'{pattern.key} if they show nothing of it.')
        if path is not None:
            first = self.used.setdefault(pattern.key,
                                         {}).setdefault(path, photograph)
            if first is not photograph:
                raise PrepareError(
                    f'{path}: {pattern.text} fits it for {first.path} and '
                    f'for {photograph.path}; make the pattern fit one.')
        return path

    def left_over(self) -> list[str]:
        """Notes about masks that belong to no photograph."""
        notes = []
        for pattern in (p for m in self.masks for p in m.patterns):
            rest = sorted(pattern.all_files() -
                          set(self.used.get(pattern.key, ())))
            if rest:
                notes.append(
                    f'{len(rest)} files fit {pattern.text} but belong to no '
                    f'photograph that is prepared: {named(rest)}.')
        return notes
