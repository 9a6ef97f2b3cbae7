"""What is asked of a prediction, what comes of it, and how it is made, but
for the network itself: nothing here needs torch.
"""
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from mbos.checkpoints.settings import RULES, PredictionSettings
from mbos.io.field_of_view import FieldOfView, find_field_of_view
from mbos.io.geometry import Geometry, make_geometry
from mbos.io.photographs import Photograph, read_photograph
from mbos.tasks import Task, Threshold
from .postprocessing import Postprocessor
from .restoring import TaskMaps

Image = str | os.PathLike | np.ndarray


@dataclass(frozen=True)
class PredictionOptions:
    """What may differ from one prediction to the next.

    Attributes:
        scales (tuple[float]): Factors of the size that the network was tested
            at; predicted is the mean over them. Default: only that size.
        flip (bool): Whether the mirrored photograph is predicted too.
        mode (str, optional): ``'whole'`` image or ``'slide'``, a sliding
            window. Default of this and the next two: the model's test_cfg.
        window, stride (int, optional): Side of the window, and between two
            windows, in pixels of the scaled photograph.
        threshold (float | dict, optional): Probability that a class must
            exceed: a number for all, or by task name, a number or numbers by
            class. Default of this and the next: as the checkpoint says.
        crop (str, optional): ``'fov'``, ``'pad'`` or ``'none'``.
        postprocess (bool | Sequence[str]): Whether the network's rules are
            applied, or which of them, by name.
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
        unknown = sorted(set(self.rules) - set(RULES))
        if unknown:
            raise ValueError(f'Unknown postprocessing {unknown[0]!r}: '
                             f'use {", ".join(RULES)}.')

    @property
    def rules(self) -> Sequence[str]:
        """Sequence[str]: Names of the rules of postprocessing to apply."""
        if isinstance(self.postprocess, bool):
            return RULES if self.postprocess else ()
        return self.postprocess

    def threshold_of(self, task: Task,
                     settings: PredictionSettings) -> Threshold:
        """What the classes of a task must exceed: a number, or by class.

        Raises:
            ValueError: If a class is unknown, or no probability is given.
        """
        given, stored = self.threshold, settings.threshold(task.name)
        if isinstance(given, Mapping):
            given = given.get(task.name)
        if given is None:
            given = stored
        elif isinstance(given, Mapping):  # other classes as stored
            given = {**task.thresholds(stored), **given}
        by_class = task.thresholds(given)
        return by_class if isinstance(given, Mapping) else given


@dataclass
class Prediction:
    """What a network says about a photograph of H x W pixels when upright,
    which is how EXIF says that it should be shown.

    Attributes:
        labels (dict[str, ndarray]): By task name, label map (H, W), uint8: 0
            background, k the task's class number k. For nested tasks, the
            innermost class that holds the pixel: 1 disc rim, 2 cup.
        probabilities (dict[str, ndarray]): By task name, (C, H, W), float32,
            in the order of the label values; 0 outside the crop to the field
            of view. Empty if they were not asked for.
        field_of_view (FieldOfView): ``box``, ``mask``, and ``certain``, False
            if nothing in the photograph looks like the retina of an eye.
        notes (tuple[str]): What was done to read the photograph.
    """

    labels: dict[str, np.ndarray]
    probabilities: dict[str, np.ndarray]
    field_of_view: FieldOfView
    notes: Sequence[str] = ()

    def __repr__(self) -> str:
        height, width = self.field_of_view.mask.shape
        return (f'Prediction({width}x{height} pixels, '
                f'labels={list(self.labels)}, '
                f'probabilities={list(self.probabilities)}, '
                f'field_of_view.box={self.field_of_view.box})')


def as_photograph(image: Image) -> Photograph:
    """A photograph from a path or an array.

    Raises:
        ValueError: If it is neither, or of another shape or kind.
    """
    if isinstance(image, (str, os.PathLike)):
        return read_photograph(str(image))
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or (
            image.ndim != 3 or image.shape[2] != 3 or not image.size):
        raise ValueError(
            'Expected a path or an RGB photograph of shape (H, W, 3) and '
            f'dtype uint8, got {getattr(image, "dtype", type(image))} of '
            f'shape {np.shape(image)}; give the path to have it converted.')
    return Photograph(image)


@dataclass(frozen=True)
class PreparedPhotograph:
    """Where the crop of a photograph lies; it is padded, but not scaled."""

    geometry: Geometry
    field_of_view: FieldOfView
    notes: tuple[str, ...] = ()


def prepare_photograph(
        photograph: Photograph,
        crop: str = 'fov') -> tuple[PreparedPhotograph, np.ndarray]:
    """Crop and pad a photograph as the training data were: to RGB, (S, S, 3),
    uint8; of any shape with ``crop='none'``."""
    height, width = photograph.image.shape[:2]
    view = find_field_of_view(photograph.image)
    geometry = make_geometry(
        'photograph', (width, height),
        box=view.box if crop == 'fov' else None,
        square=crop != 'none')
    return (PreparedPhotograph(geometry, view, photograph.notes),
            geometry.apply(photograph.image, is_label=False))


def available_cores() -> int:
    """How many of the processor's cores this process may use."""
    if hasattr(os, 'sched_getaffinity'):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class PhotographPredictor:
    """Photographs in, label maps out, with a network in any runtime.

    Preparing, running and restoring are separate, so that reading, the network
    and writing can go on at the same time.

    Attributes:
        test_cfg (dict): Mode, window and stride, as mmseg's ``test_cfg``.

    Raises:
        ValueError: If the options do not fit the network.
    """

    test_cfg: dict

    def __init__(self, tasks: Mapping[str, Task], settings: PredictionSettings,
                 options: PredictionOptions, align_corners: bool):
        self.tasks = dict(tasks)
        if isinstance(options.threshold, Mapping):
            unknown = sorted(set(options.threshold) - set(self.tasks))
            if unknown:
                raise ValueError(
                    f'threshold names the unknown task {unknown[0]!r}; the '
                    f'tasks are {", ".join(self.tasks)}.')
        self.options = options
        self.align_corners = align_corners
        self.crop = options.crop or settings.crop
        self.thresholds = {
            name: options.threshold_of(task, settings)
            for name, task in self.tasks.items()
        }
        self.postprocessing = settings.postprocessing.only(options.rules)

    def make_input(self, square: np.ndarray) -> Any:
        """The network's input of a prepared photograph, RGB, (S, S, 3)."""
        raise NotImplementedError

    def run(self, inputs: Sequence[Any]) -> list[dict[str, list[np.ndarray]]]:
        """Run the network: per photograph, by task name, the logits of each
        view, (C, h, w), not mirrored any more."""
        raise NotImplementedError

    def share_processor(self, number: int) -> None:
        """Expect so many threads that predict at the same time."""

    def prepare(self,
                photograph: Photograph) -> tuple[PreparedPhotograph, Any]:
        """Find the field of view and make the network's input."""
        prepared, square = prepare_photograph(photograph, self.crop)
        return prepared, self.make_input(square)

    def restore(
        self,
        logits: Mapping[str, Sequence[np.ndarray]],
        prepared: PreparedPhotograph,
        with_probabilities: bool = True
    ) -> Iterator[tuple[str, np.ndarray, np.ndarray | None]]:
        """Put logits of :meth:`run` back into the photograph: by task, its
        name, labels (H, W), uint8, postprocessed, and probabilities (C, H, W),
        float32, as the network gives them."""
        clean = Postprocessor(prepared.field_of_view, self.postprocessing)
        for name, views in logits.items():
            maps = TaskMaps(self.tasks[name], views, prepared.geometry,
                            self.align_corners)
            labels, prob = maps.read(self.thresholds[name], with_probabilities)
            clean(self.tasks[name], labels, maps)
            yield name, labels, prob

    def predict(self,
                images: Iterable[Image],
                probabilities: bool = True,
                batch_size: int = 1) -> Iterator[Prediction]:
        """Predict photographs, so many together, one result at a time."""
        images = iter(images)
        while some := list(islice(images, batch_size)):
            batch = [self.prepare(as_photograph(image)) for image in some]
            results = self.run([inputs for _, inputs in batch])
            for (prepared, _), logits in zip(batch, results):
                maps = list(self.restore(logits, prepared, probabilities))
                yield Prediction({
                    name: labels
                    for name, labels, _ in maps
                }, {
                    name: p
                    for name, _, p in maps if p is not None
                }, prepared.field_of_view, prepared.notes)
