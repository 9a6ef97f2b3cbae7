"""Logits, put back into the photograph a few rows at a time.

They are enlarged bilinearly, as in testing, and compared with the threshold
block by block, so that no map of the photograph's size is made unless
probabilities are wanted. An enlarged value lies between its neighbours in the
small map: where none of these exceeds the threshold, nothing is computed.
NumPy alone, so that it serves networks in any runtime.
"""
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from mbos.io.geometry import Geometry
from mbos.tasks import Task, Threshold

ROWS = 64
"""Rows of the photograph in a block, which then fits the processor's cache."""


class TaskMaps:
    """A task's logits, read at the size of the photograph.

    As in testing, logits are resized to the size of the crop before the
    sigmoid, and the probabilities of several views are averaged. Outside the
    crop everything is 0.

    ``maps[index, rows, columns]`` is the probability of a class in a window of
    the photograph, as of an array (C, H, W).

    Args:
        task (Task): The task.
        logits (Sequence[ndarray]): Of each view of the crop, (C, h, w).
        geometry (Geometry): Where the crop lies in the photograph.
        align_corners (bool): How logits are resized.
    """

    def __init__(self, task: Task, logits: Sequence[np.ndarray],
                 geometry: Geometry, align_corners: bool):
        self.task = task
        self.shape = (geometry.height, geometry.width)
        x, y, width, height = geometry.box
        self._inside = (slice(y, y + height), slice(x, x + width))
        self._views = [_View(view, geometry, align_corners) for view in logits]

    def __getitem__(self, place: tuple[int, slice, slice]) -> np.ndarray:
        index, rows, columns = place
        start, stop, _ = rows.indices(self.shape[0])
        found = np.zeros((stop - start, self.shape[1]), np.float32)
        top = self._inside[0].start
        first = max(start, top)
        last = max(first, min(stop, self._inside[0].stop))
        for block in _blocks(first - top, last - top):
            of_window = slice(block.start + top - start,
                              block.stop + top - start)
            found[of_window, self._inside[1]] = self._probability(index, block)
        return found[:, columns]

    def labels(self, threshold: Threshold) -> np.ndarray:
        """Label map (H, W), uint8.

        Args:
            threshold (float | dict[str, float]): Probability to exceed, of
                all classes or by class.
        """
        limits = self._limits(threshold)
        if len(self._views) > 1 or not limits.all():
            return self.labels_and_probabilities(threshold)[0]
        labels = np.zeros(self.shape, np.uint8)
        _decode_logits(self.task, self._views[0],
                       np.log(limits / (1 - limits)), labels[self._inside])
        return labels

    def labels_and_probabilities(
            self, threshold: Threshold) -> tuple[np.ndarray, np.ndarray]:
        """Label map (H, W), uint8, and probabilities (C, H, W), float32."""
        limits = self._limits(threshold)
        labels = np.zeros(self.shape, np.uint8)
        prob = np.zeros((self.task.num_classes, *self.shape), np.float32)
        part = prob[(slice(None), *self._inside)]
        for rows in _blocks(0, part.shape[1]):
            for index in range(len(prob)):
                part[index, rows] = self._probability(index, rows)
            labels[self._inside][rows] = decode(self.task, part[:, rows],
                                                limits)
        return labels, prob

    def _limits(self, threshold: Threshold) -> np.ndarray:
        return np.float32(list(self.task.thresholds(threshold).values()))

    def _probability(self, index: int, rows: slice) -> np.ndarray:
        """Of a class in some rows of the crop, the mean of the views."""
        total = None
        for view in self._views:
            value = view.enlarged(index, rows, slice(None))
            np.negative(value, out=value)
            with np.errstate(over='ignore'):  # of a sure background
                np.exp(value, out=value)
            value += 1
            np.reciprocal(value, out=value)
            total = value if total is None else total + value
        return total / len(self._views) if len(self._views) > 1 else total


def decode(task: Task, scores: np.ndarray,
           limits: Sequence[float]) -> np.ndarray:
    """As ``Task.decode``, on any scores that grow with the probability.

    Args:
        task (Task): The task.
        scores (ndarray): Probabilities or logits, (C, H, W), float32.
        limits (Sequence[float]): What the score of each class must exceed.

    Returns:
        ndarray: Labels (H, W), uint8.
    """
    labels = np.zeros(scores.shape[1:], np.uint8)
    best = _no_best(task, labels)
    for value, (score, limit) in enumerate(zip(scores, limits), 1):
        _put(value, score > limit, score, labels, best)
    return labels


def _no_best(task: Task, labels: np.ndarray) -> np.ndarray | None:
    """Scores of the classes written so far, which nested ones do not need."""
    return None if task.nested else np.full(labels.shape, -np.inf, np.float32)


def _put(value: int, found: np.ndarray, score: np.ndarray, labels: np.ndarray,
         best: np.ndarray | None) -> None:
    """Write a class where it is found and, if exclusive, the best so far."""
    if best is not None:
        found &= score > best
        np.copyto(best, score, where=found)
    labels[found] = value


def _decode_logits(task: Task, view: '_View', limits: np.ndarray,
                   labels: np.ndarray) -> None:
    """Labels of one view, computed only where a class may be."""
    above = view.logits > limits[:, None, None]
    for rows in _blocks(0, len(labels)):
        block = labels[rows]
        best = _no_best(task, block)
        for index, limit in enumerate(limits):
            columns = view.columns_of(above[index], rows)
            if columns is None:
                continue
            score = view.enlarged(index, rows, columns)
            _put(index + 1, score > limit, score, block[:, columns],
                 None if best is None else best[:, columns])


def _blocks(start: int, stop: int) -> Iterator[slice]:
    for first in range(start, stop, ROWS):
        yield slice(first, min(first + ROWS, stop))


@dataclass(frozen=True)
class _Axis:
    """Which two values of a small axis each position of a large one mixes.

    Attributes:
        low, high (ndarray): Indices of the neighbours, both growing.
        share (ndarray): Of the higher one, float32.
    """
    low: np.ndarray
    high: np.ndarray
    share: np.ndarray

    @classmethod
    def between(cls, length: int, enlarged: int,
                align_corners: bool) -> '_Axis':
        """Bilinear interpolation as torch defines it."""
        place = np.arange(enlarged, dtype=np.float32)
        if align_corners:
            place *= np.float32((length - 1) / max(enlarged - 1, 1))
        else:
            scale = np.float32(length / enlarged)
            half = np.float32(0.5)
            place = np.maximum((place + half) * scale - half, 0)
        low = np.minimum(place.astype(np.intp), length - 1)
        return cls(low, np.minimum(low + 1, length - 1),
                   place - low.astype(np.float32))

    def __getitem__(self, span: slice) -> '_Axis':
        return _Axis(self.low[span], self.high[span], self.share[span])


class _View:
    """The logits of a view, and how they are enlarged to the crop."""

    def __init__(self, logits: np.ndarray, geometry: Geometry,
                 align_corners: bool):
        self.logits = logits
        top, left = geometry.pad_top, geometry.pad_left
        self.rows = _Axis.between(logits.shape[1], geometry.padded_height,
                                  align_corners)[top:top + geometry.box_height]
        self.columns = _Axis.between(logits.shape[2], geometry.padded_width,
                                     align_corners)[left:left +
                                                    geometry.box_width]

    def enlarged(self, index: int, rows: slice, columns: slice) -> np.ndarray:
        """Part of a class's logits at the size of the crop."""
        down, across = self.rows[rows], self.columns[columns]
        first = down.low[0]
        small = self.logits[index, first:down.high[-1] + 1]
        wide = _mixed(small[:, across.low], small[:, across.high],
                      across.share)
        return _mixed(wide[down.low - first], wide[down.high - first],
                      down.share[:, None])

    def columns_of(self, above: np.ndarray, rows: slice) -> slice | None:
        """Columns of the crop that may exceed the limit in some rows.

        Args:
            above (ndarray): Which logits do, (h, w), boolean.
            rows (slice): Of the crop.
        """
        down = self.rows[rows]
        found = np.flatnonzero(above[down.low[0]:down.high[-1] + 1].any(0))
        if not len(found):
            return None
        columns = slice(
            int(np.searchsorted(self.columns.high, found[0])),
            int(np.searchsorted(self.columns.low, found[-1], 'right')))
        return columns if columns.start < columns.stop else None


def _mixed(low: np.ndarray, high: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Mix two arrays; the second is changed."""
    high -= low
    high *= share
    high += low
    return high
