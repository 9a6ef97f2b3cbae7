"""Tasks: named heads with classes, and how labels become targets and back
(docs/method.md, section 1), and the colours of pictures and label PNGs."""
from __future__ import annotations
import numbers
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import cycle, islice
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:  # imported where tensors are made: preparation makes none
    from torch import Tensor

Colour = tuple[int, int, int]

OTHER_COLOURS = ((30, 60, 255), (240, 225, 0), (245, 95, 250), (0, 140, 170),
                 (0, 220, 190), (255, 255, 255))
"""tuple: RGB colours of the classes of tasks that have no palette."""
IGNORE_INDEX = 255
"""int: Label value that takes no part in losses and metrics."""
Threshold = float | Mapping[str, float]
"""Probability that a class must exceed: of all classes, or by class."""


@dataclass(frozen=True)
class Task:
    """A named segmentation head with its own foreground classes.

    Label value 0 is background, value ``k`` is ``classes[k - 1]`` and 255 is
    ignored. Every class is one sigmoid channel. Of ``nested`` classes each
    contains the ones after it, as the optic disc contains the cup: the target
    of class ``k`` is then ``label >= k`` instead of ``label == k``. The
    ``palette`` gives RGB colours; tasks of other colours are equal.
    """

    name: str
    classes: tuple[str, ...]
    nested: bool = False
    palette: tuple[Colour, ...] | None = field(default=None, compare=False)

    def __post_init__(self):
        if not self.name.replace('_', 'a').isalnum():
            raise ValueError(f'Task name {self.name!r} is not usable: use '
                             'letters, digits and underscores only.')
        names = () if isinstance(self.classes, str) else self.classes
        if not 0 < len(names) == len(set(names)) < 255:
            raise ValueError(f'Task {self.name!r} needs a sequence of 1 to '
                             '254 different class names, got '
                             f'{self.classes!r}.')
        palette = self.palette and tuple(map(tuple, self.palette))
        object.__setattr__(self, 'classes', tuple(self.classes))
        object.__setattr__(self, 'palette', palette)
        if len(self.colours) != len(self.classes):
            raise ValueError(f'Task {self.name!r} has {self.num_classes} '
                             f'classes but {len(self.colours)} colours.')

    @property
    def num_classes(self) -> int:
        """Number of sigmoid channels."""
        return len(self.classes)

    @property
    def colours(self) -> tuple[Colour, ...]:
        """RGB colour of each class."""
        others = islice(cycle(OTHER_COLOURS), self.num_classes)
        return self.palette or tuple(others)

    def as_config(self) -> dict:
        """Plain types that :func:`build_task` makes the same task of."""
        palette = self.palette and list(map(list, self.palette))
        return dict(vars(self), classes=list(self.classes), palette=palette)

    def channels(self, classes: Sequence[str]) -> list[int]:
        """Positions of some of the classes, each once, in the task's order."""
        found = [i for i, name in enumerate(self.classes) if name in classes]
        if isinstance(classes, str) or not 0 < len(found) == len(classes):
            raise ValueError(
                f'Task {self.name!r} has the classes {", ".join(self.classes)}'
                f': expected a list of some, each once, got {classes!r}.')
        return found

    def part(self, classes: Sequence[str]) -> 'Task':
        """The task of some of the classes alone; itself where these are all.
        A single class that is left of nested ones is not nested."""
        chosen = self.channels(classes)
        if len(chosen) == self.num_classes:
            return self
        names, palette = ([values[i] for i in chosen]
                          for values in (self.classes, self.colours))
        return Task(self.name, names, self.nested and len(chosen) > 1, palette)

    def part_values(self, classes: Sequence[str]) -> np.ndarray:
        """Labels of :meth:`part` by label of the task, shape (256, ), uint8:
        other nested classes become the next one around them that is kept,
        other exclusive ones background."""
        values = np.arange(256, dtype=np.uint8)
        kept = np.isin(np.arange(self.num_classes), self.channels(classes))
        found = kept.cumsum() if self.nested else kept.cumsum() * kept
        values[1:self.num_classes + 1] = found
        return values

    def encode(self,
               labels: Tensor,
               ignore_index: int | None = IGNORE_INDEX,
               known: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Turn label planes into binary targets and a validity mask.

        A plane may label some of the classes only, which are known at every
        pixel. Another exclusive class is known not to be where one of them
        is, another nested one not to be outside a class around it, and to be
        inside a class within it (docs/method.md, section 1).

        Args:
            labels: Integer labels of shape (..., H, W).
            ignore_index: Value of the pixels to leave out; None counts them as
                background, as the published release does.
            known: Which classes the planes label, boolean (..., C) or (C, ).

        Returns:
            Boolean targets and validity (..., C, H, W), the latter read-only.
        """
        import torch
        labels = labels.unsqueeze(-3)
        last = self.num_classes
        values = torch.arange(1, last + 1, device=labels.device).view(-1, 1, 1)
        targets = labels == values
        if self.nested:
            targets = (labels >= values) & (labels <= last)
        valid = torch.ones_like(labels, dtype=torch.bool) \
            if ignore_index is None else labels != ignore_index
        if known is not None:
            valid = valid & self._known_pixels(labels, values, known)
        return targets, valid.expand(targets.shape)

    def _known_pixels(self, labels: Tensor, values: Tensor,
                      known: Tensor) -> Tensor:
        """Where each class is labelled or follows from those that are, of
        labels (..., 1, H, W), values (C, 1, 1) and known (..., C)."""
        import torch
        known = known[..., None, None]
        level = labels.masked_fill(labels > self.num_classes, 0)
        if not self.nested:
            return known | (level > 0)
        # the nearest labelled class around each class, and within it
        around = (known * values).cummax(dim=-3).values
        within = torch.where(known, values, self.num_classes + 1)
        within = within.flip(-3).cummin(dim=-3).values.flip(-3)
        return known | (level < around) | (level >= within)

    def known_mask(self, classes: Sequence[str] | None) -> Tensor:
        """Which classes are named, boolean, shape (C, ); None names all."""
        import torch
        named = self.classes if classes is None else classes
        return torch.tensor([name in named for name in self.classes])

    def complete(self,
                 prob: Tensor,
                 labels: Tensor,
                 classes: Sequence[str],
                 ignore_index: int = IGNORE_INDEX) -> Tensor:
        """Probabilities (..., C, H, W) with 0 and 1 where label planes (...,
        H, W) of some of the classes say so, so that :meth:`decode` agrees."""
        import torch
        targets, valid = self.encode(labels, ignore_index,
                                     self.known_mask(classes))
        return torch.where(valid, targets.to(prob.dtype), prob)

    def thresholds(self, given: Threshold) -> dict[str, float]:
        """Thresholds by class, from 0 and below 1; 0.5 of one not named."""
        if not isinstance(given, Mapping):
            given = dict.fromkeys(self.classes, given)
        found = dict.fromkeys(self.classes, 0.5) | given
        for name, value in found.items():
            if name not in self.classes:
                raise ValueError(f'Task {self.name!r} has no class {name!r}: '
                                 f'it has {", ".join(self.classes)}.')
            if isinstance(value, bool) or not isinstance(
                    value, numbers.Real) or not 0 <= value < 1:
                raise ValueError(
                    f'The threshold of {self.name}.{name} is {value!r}, '
                    'expected at least 0 and below 1.')
        return found

    def decode(self, prob: Tensor, threshold: Threshold = 0.5) -> Tensor:
        """Turn probabilities (..., C, H, W) into labels (..., H, W), uint8.

        A pixel is foreground where any class exceeds its threshold: the most
        probable of these among exclusive classes, the innermost of nested
        ones (docs/method.md, section 5).
        """
        import torch
        if prob.shape[-3] != self.num_classes:
            raise ValueError(f'Task {self.name!r} has {self.num_classes} '
                             f'classes, got shape {tuple(prob.shape)}.')
        limits = list(self.thresholds(threshold).values())
        above = prob > prob.new_tensor(limits).view(-1, 1, 1)
        if self.nested:
            values = torch.arange(1, len(limits) + 1, device=prob.device)
            values = values.to(torch.uint8).view(-1, 1, 1)
            return (above * values).amax(dim=-3)
        if len(set(limits)) > 1:
            prob = torch.where(above, prob, -1.)
        labels = prob.argmax(dim=-3) + 1
        return (labels * above.any(dim=-3)).to(torch.uint8)


# Colours stand out from an orange retina, those of disc and cup from a bright
# disc, too, and from each other, also for colour-blind readers.
VESSEL = Task('vessel', ('vessel', ), palette=OTHER_COLOURS[:1])
LESION = Task('lesion', ('EX', 'HE', 'SE', 'MA'), palette=OTHER_COLOURS[1:5])
ODOC = Task('odoc', ('disc', 'cup'), True, ((255, 255, 255), (190, 15, 85)))

BUILTIN_TASKS = {task.name: task for task in (VESSEL, LESION, ODOC)}
"""dict[str, Task]: The published tasks, in the published order."""

TaskLike = str | dict | Task


def build_task(cfg: TaskLike) -> Task:
    """Make a task from its built-in name, a dict of arguments, or itself."""
    if isinstance(cfg, Task):
        return cfg
    if isinstance(cfg, str):
        if cfg not in BUILTIN_TASKS:
            raise ValueError(f'Unknown task {cfg!r}: there are '
                             f'{", ".join(BUILTIN_TASKS)}; describe another '
                             'as dict(name=..., classes=[...], nested=False).')
        return BUILTIN_TASKS[cfg]
    return Task(**cfg)


def build_tasks(cfgs: Sequence[TaskLike]) -> tuple[Task, ...]:
    """Make all tasks of a config: the published ones, in the published order,
    then the others by name. So neither the initial weights nor the channels of
    cross-task attention depend on how a config lists its tasks."""
    if isinstance(cfgs, (str, dict)) or not cfgs:
        raise ValueError(f'Expected a list of tasks, got {cfgs!r}.')
    tasks = {task.name: task for task in map(build_task, cfgs)}
    if len(tasks) != len(cfgs):
        raise ValueError(f'A task is listed twice: {list(cfgs)}.')
    others = sorted(set(tasks) - set(BUILTIN_TASKS))
    return tuple(tasks[name] for name in (*BUILTIN_TASKS, *others)
                 if name in tasks)
