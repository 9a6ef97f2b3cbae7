"""What is taken out of label maps: rims, second discs, specks.

Each rule is a setting of the network (``PredictionSettings.postprocessing``)
that can be switched off. docs/prediction.md says what each does, and
docs/light_network.md what each was worth.
"""
import cv2
import numpy as np

from mbos.checkpoints.settings import Postprocessing
from mbos.io.field_of_view import FieldOfView
from mbos.tasks import Task
from .restoring import TaskMaps

LARGE = 0.25
"""float: Share of the largest part's size from which on another part may be
the one object."""


class Postprocessor:
    """Takes out of the label maps of a photograph what the rules say; nothing
    for lying outside of a field of view that is uncertain."""

    def __init__(self, view: FieldOfView, rules: Postprocessing):
        self.rules = rules
        self.area = np.count_nonzero(view.mask)
        self.rim = None
        if rules.rim is not None and view.certain:
            self.rim = _rim(view.mask, rules.rim)

    def __call__(self, task: Task, labels: np.ndarray,
                 prob: np.ndarray | TaskMaps) -> None:
        """Change a task's label map (H, W), uint8, in place; of the
        probabilities of its classes, (C, H, W), windows are read."""
        if self.rim is not None:
            labels[self.rim] = 0
        if task.name in self.rules.one_object:
            # of nested classes one of each
            for index in range(task.num_classes if task.nested else 1):
                _keep_one_object(task, labels, prob, index + 1)
        for value, name in enumerate(task.classes, 1):
            share = self.rules.smallest(task.name, name)
            if share:
                _remove_specks(task, labels, value, share * self.area)


def _rim(mask: np.ndarray, share: float) -> np.ndarray:
    """What is outside a field of view, or closer to its edge than a share of
    its diameter. Where the frame cuts it off, there is no rim."""
    if not share:
        return mask == 0
    inside = (mask > 0).astype(np.uint8)
    _, _, width, height = cv2.boundingRect(inside)
    distance = cv2.distanceTransform(inside, cv2.DIST_L2, 3)
    return distance <= share * max(width, height)


def _keep_one_object(task: Task, labels: np.ndarray,
                     prob: np.ndarray | TaskMaps, value: int) -> None:
    """Of what has this label or a higher one, keep the part with the highest
    mean probability among those of at least a quarter of the largest one's
    size."""
    found = (labels >= value).astype(np.uint8)
    x, y, width, height = cv2.boundingRect(found)
    window = (slice(y, y + height), slice(x, x + width))
    if not width:
        return
    count, parts, stats, _ = cv2.connectedComponentsWithStats(
        np.ascontiguousarray(found[window]))
    if count == 2:  # one part, and what is around it
        return
    classes = [value - 1] if task.nested else range(task.num_classes)
    score = np.max([prob[(index, *window)] for index in classes], axis=0)
    sizes = stats[:, cv2.CC_STAT_AREA]
    means = np.bincount(parts.ravel(), score.ravel(), count) / sizes
    means[sizes < LARGE * sizes[1:].max()] = -1
    others = np.arange(count) != 1 + means[1:].argmax()
    _take_out(task, labels[window], others[parts], value)


def _remove_specks(task: Task, labels: np.ndarray, value: int,
                   smallest: float) -> None:
    """Remove the parts of a class that have fewer pixels.

    Their outlines show which may be too small, in a tenth of the time of
    numbering all: a part has at least as many pixels as it is wide or high.
    """
    found = (labels >= value if task.nested else labels == value).view(
        np.uint8)
    outlines, hierarchy = cv2.findContours(found, cv2.RETR_CCOMP,
                                           cv2.CHAIN_APPROX_SIMPLE)
    for index, outline in enumerate(outlines):
        x, y, width, height = cv2.boundingRect(outline)
        is_hole = hierarchy[0, index, 3] >= 0
        if is_hole or max(width, height) >= smallest:
            continue
        window = (slice(y, y + height), slice(x, x + width))
        _, parts = cv2.connectedComponents(np.ascontiguousarray(found[window]))
        column, row = outline[0, 0]
        part = parts == parts[row - y, column - x]
        if np.count_nonzero(part) < smallest:
            _take_out(task, labels[window], part, value)


def _take_out(task: Task, labels: np.ndarray, where: np.ndarray,
              value: int) -> None:
    """Nested classes leave the class around them; others the background."""
    labels[where & (labels >= value)] = value - 1 if task.nested else 0
