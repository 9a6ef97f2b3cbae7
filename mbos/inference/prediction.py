"""What is asked of a prediction, what comes of it, and how it is made, but
for the network itself: nothing here needs torch.
"""
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mbos.checkpoints.settings import RULES, PredictionSettings
from mbos.io.field_of_view import FieldOfView, find_field_of_view
from mbos.io.geometry import Geometry, make_geometry
from mbos.io.photographs import Photograph, read_photograph
from mbos.tasks import Task, Threshold
from .label_maps import Postprocessor, TaskMaps

Image = str | os.PathLike | np.ndarray


@dataclass(frozen=True)
class PredictionOptions:
    """What may differ from one prediction to the next; None is as the network
    was tested.

    Attributes:
        scales: Factors of the size that the network was tested at; predicted
            is the mean over them, and with ``flip`` over the mirrored ones.
        mode: ``'whole'`` image or ``'slide'``, a sliding window.
        window, stride: Side of the window, and between two windows, in pixels
            of the scaled photograph.
        threshold: Probability that a class must exceed: a number for all, or
            by task name, a number or numbers by class.
        crop: ``'fov'``, ``'pad'`` or ``'none'``.
        postprocess: Which of the network's rules to apply, or all or none.
    """

    scales: Sequence[float] = ()
    flip: bool = False
    mode: str | None = None
    window: int | None = None
    stride: int | None = None
    threshold: float | Mapping[str, Threshold] | None = None
    crop: str | None = None
    postprocess: bool | Sequence[str] = True

    def __post_init__(self):
        if any(not 0 < s <= 8 for s in self.scales):
            raise ValueError(f'scales are {self.scales}, expected factors '
                             'above 0 and up to 8.')


@dataclass(repr=False)
class Prediction:
    """What a network says about a photograph of H x W pixels when upright.

    Attributes:
        labels: By task name, (H, W), uint8: 0 background, k the task's class
            number k; of nested classes the innermost that holds the pixel.
        probabilities: By task name, (C, H, W), float32; 0 outside the crop to
            the field of view. Empty if they were not asked for.
        notes: What was done to read the photograph.
    """

    labels: dict[str, np.ndarray]
    probabilities: dict[str, np.ndarray]
    field_of_view: FieldOfView
    notes: Sequence[str] = ()


def as_photograph(image: Image) -> Photograph:
    """A photograph from a path or an array; a ValueError if it is neither, or
    of another shape or kind."""
    if isinstance(image, (str, os.PathLike)):
        return read_photograph(image)
    kind, shape = getattr(image, 'dtype', type(image)), np.shape(image)
    if kind != np.uint8 or len(shape) != 3 or shape[2] != 3 or 0 in shape:
        raise ValueError(
            'Expected a path or an RGB photograph of shape (H, W, 3) and '
            f'dtype uint8, got {kind} of shape {shape}.')
    return Photograph(image)


def available_cores() -> int:
    """How many of the processor's cores this process may use."""
    if hasattr(os, 'sched_getaffinity'):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class PhotographPredictor:
    """Photographs in, label maps out, with a network in any runtime; a
    ValueError says that the options do not fit the network."""

    test_cfg: dict  # mode, window and stride, as mmseg's

    def __init__(self, tasks: Mapping[str, Task], settings: PredictionSettings,
                 options: PredictionOptions, align_corners: bool):
        self.tasks = dict(tasks)
        self.options = options
        self.align_corners = align_corners
        self.crop = options.crop or settings.crop
        rules = options.postprocess
        if isinstance(rules, bool):
            rules = RULES * rules
        if not set(rules) <= set(RULES):
            raise ValueError(f'postprocess is {rules}, expected some of '
                             f'{", ".join(RULES)}.')
        self.postprocessing = settings.postprocessing.only(rules)
        given = {} if options.threshold is None else options.threshold
        if not isinstance(given, Mapping):
            given = dict.fromkeys(self.tasks, given)
        for name in given.keys() - self.tasks.keys():
            raise ValueError(f'threshold names the unknown task {name!r}; '
                             f'the tasks are {", ".join(self.tasks)}.')
        self.thresholds = {}
        for name, task in self.tasks.items():
            of_task = given.get(name, {})
            if isinstance(of_task, Mapping):  # others as the network says
                of_task = task.thresholds(settings.threshold(name)) | of_task
            self.thresholds[name] = task.thresholds(of_task)

    def make_input(self, square: np.ndarray) -> Any:
        """The network's input of a padded crop, RGB, (S, S, 3)."""
        raise NotImplementedError

    def run(self, inputs: Any) -> dict[str, list[np.ndarray]]:
        """The logits of each view by task name, (C, h, w), mirrored back."""
        raise NotImplementedError

    def share_processor(self, number: int) -> None:
        """Expect so many threads that predict at the same time."""

    def geometry(self, view: FieldOfView) -> Geometry:
        """How a photograph is cropped and padded, before it is scaled."""
        box = view.box if self.crop == 'fov' else None
        return make_geometry('', view.mask.shape[::-1], box, self.crop
                             != 'none')

    def prepare(self, photograph: Photograph) -> tuple[FieldOfView, Any]:
        """Find the field of view and make the network's input."""
        view = find_field_of_view(photograph.image)
        square = self.geometry(view).apply(photograph.image, is_label=False)
        return view, self.make_input(square)

    def restore(
        self, logits: Mapping[str, Sequence[np.ndarray]], view: FieldOfView,
        with_probabilities: bool
    ) -> Iterator[tuple[Task, np.ndarray, np.ndarray | None]]:
        """Put logits of :meth:`run` back into the photograph: postprocessed
        labels of each task, and probabilities if wanted, as
        :class:`Prediction` has them."""
        clean = Postprocessor(view, self.postprocessing)
        geometry = self.geometry(view)
        for name, views in logits.items():
            task = self.tasks[name]
            maps = TaskMaps(task, views, geometry, self.align_corners)
            labels, prob = maps.read(self.thresholds[name], with_probabilities)
            clean(task, labels, maps)
            yield task, labels, prob

    def predict(self, image: Image, probabilities: bool = True) -> Prediction:
        """Predict a photograph."""
        photograph = as_photograph(image)
        view, inputs = self.prepare(photograph)
        found = Prediction({}, {}, view, photograph.notes)
        logits = self.run(inputs)
        for task, labels, prob in self.restore(logits, view, probabilities):
            found.labels[task.name] = labels
            if prob is not None:
                found.probabilities[task.name] = prob
        return found
