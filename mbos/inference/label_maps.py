"""From logits to the label map of a photograph.

Logits are enlarged bilinearly, as in testing, and compared with the threshold
a few rows at a time. An enlarged value lies between its neighbours in the
small map: where none of these exceeds the threshold, nothing is computed.
Then rims, second discs and specks are taken out, by rules of the network
(docs/prediction.md; docs/light_network.md says what each was worth). NumPy and
OpenCV alone, so that it serves networks in any runtime.
"""
from collections.abc import Sequence

import cv2
import numpy as np

from mbos.checkpoints.settings import Postprocessing
from mbos.io.field_of_view import FieldOfView
from mbos.io.geometry import Geometry
from mbos.tasks import Task, Threshold

ROWS = 64  # of the photograph in a block, which then fits a processor's cache
LARGE = 0.25  # share of the largest part from which on another may be the one


class TaskMaps:
    """A task's logits of each view of a crop, (C, h, w), read at the size of
    the photograph: resized before the sigmoid, the probabilities of several
    views averaged, 0 outside the crop.

    ``maps[index, rows, columns]`` is the probability of a class in a window
    within the crop, as of an array (C, H, W).
    """

    def __init__(self, task: Task, logits: Sequence[np.ndarray],
                 geometry: Geometry, align_corners: bool):
        self.task = task
        self.shape = (geometry.height, geometry.width)
        x, y, width, height = geometry.box
        self._crop = (slice(y, y + height), slice(x, x + width))
        self._views = [(view,
                        _neighbours(view.shape[1], geometry.padded_height,
                                    geometry.pad_top, height, align_corners),
                        _neighbours(view.shape[2], geometry.padded_width,
                                    geometry.pad_left, width, align_corners))
                       for view in logits]

    def __getitem__(self, place: tuple[int, slice, slice]) -> np.ndarray:
        index, *window = place
        rows, columns = (slice(part.start - crop.start, part.stop - crop.start)
                         for part, crop in zip(window, self._crop))
        return self._probability(index, rows, columns)

    def read(
        self,
        threshold: Threshold,
        with_probabilities: bool = False
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Label map (H, W), uint8, as ``Task.decode`` makes it, and
        probabilities (C, H, W), float32, if wanted."""
        limits = np.float32(list(self.task.thresholds(threshold).values()))
        with np.errstate(divide='ignore'):
            logits = np.log(limits / (1 - limits))
        labels, prob = np.zeros(self.shape, np.uint8), None
        if with_probabilities:
            prob = np.zeros((len(limits), *self.shape), np.float32)
        inside = labels[self._crop]
        for start in range(0, len(inside), ROWS):
            rows = slice(start, start + ROWS)
            block = inside[rows]
            highest = np.zeros(block.shape, np.float32)
            for index, limit in enumerate(limits):
                columns = slice(0, block.shape[1])
                if prob is None:
                    columns = self._span_above(logits[index], index, rows)
                if columns.start >= columns.stop:
                    continue
                score = self._probability(index, rows, columns)
                if prob is not None:
                    prob[(index, *self._crop)][rows] = score
                found = score > limit
                if not self.task.nested:
                    found &= score > highest[:, columns]
                    np.copyto(highest[:, columns], score, where=found)
                block[:, columns][found] = index + 1
        return labels, prob

    def _span_above(self, limit: float, index: int, rows: slice) -> slice:
        """Columns of the crop where a class's logits may exceed a limit in
        some rows."""
        start, stop = self.shape[1], 0
        for logits, vertical, horizontal in self._views:
            (upper, lower, _), (left, right, _) = vertical, horizontal
            near = logits[index, upper[rows][0]:lower[rows][-1] + 1]
            found = np.flatnonzero((near > limit).any(axis=0))
            if len(found):
                start = min(start, np.searchsorted(right, found[0]))
                stop = max(stop, np.searchsorted(left, found[-1], 'right'))
        return slice(start, stop)

    def _probability(self, index: int, rows: slice,
                     columns: slice) -> np.ndarray:
        """Of a class in a window of the crop, the mean of the views."""
        total = 0
        for logits, vertical, horizontal in self._views:
            upper, lower, down = (part[rows] for part in vertical)
            left, right, across = (part[columns] for part in horizontal)
            small = logits[index, upper[0]:lower[-1] + 1]
            wide = _mixed(small[:, left], small[:, right], across)
            value = _mixed(wide[upper - upper[0]], wide[lower - upper[0]],
                           down[:, None])
            np.negative(value, out=value)
            with np.errstate(over='ignore'):  # of a sure background
                np.exp(value, out=value)
            value += 1
            total = total + np.reciprocal(value, out=value)
        return total / len(self._views) if len(self._views) > 1 else total


def _neighbours(length: int, enlarged: int, start: int, count: int,
                align_corners: bool) -> tuple[np.ndarray, ...]:
    """Bilinear interpolation as torch defines it: which two values of a small
    axis are mixed at ``count`` positions of the enlarged one, and the share of
    the second."""
    place = np.arange(start, start + count, dtype=np.float32)
    if align_corners:
        place *= np.float32((length - 1) / max(enlarged - 1, 1))
    else:
        scale, half = np.float32(length / enlarged), np.float32(0.5)
        place = np.maximum((place + half) * scale - half, 0)
    low = np.minimum(place.astype(np.intp), length - 1)
    high = np.minimum(low + 1, length - 1)
    return low, high, place - low.astype(np.float32)


def _mixed(low: np.ndarray, high: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Mix two arrays; the second is changed."""
    high -= low
    high *= share
    high += low
    return high


class Postprocessor:
    """Takes out of the label maps of a photograph what the rules say; what is
    outside of the field of view only where that is certain."""

    def __init__(self, view: FieldOfView, rules: Postprocessing):
        self.rules = rules
        self.area = np.count_nonzero(view.mask)
        self.rim = None
        if rules.rim is not None and view.certain:
            # where the frame cuts the field of view off, there is no rim
            _, _, width, height = cv2.boundingRect(view.mask)
            distance = cv2.distanceTransform(view.mask, cv2.DIST_L2, 3)
            self.rim = distance <= rules.rim * max(width, height)

    def __call__(self, task: Task, labels: np.ndarray,
                 prob: np.ndarray | TaskMaps) -> None:
        """Change a task's label map (H, W), uint8, in place, by the
        probabilities of its classes, (C, H, W)."""
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
    """Remove the parts of a class that have fewer pixels."""
    found = (labels >= value if task.nested else labels == value).view(
        np.uint8)
    # In a tenth of the time of numbering all parts, outlines show which may be
    # too small: a part has at least as many pixels as it is wide or high.
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
