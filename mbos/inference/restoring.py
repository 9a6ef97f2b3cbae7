"""Logits, put back into the photograph a few rows at a time.

They are enlarged bilinearly, as in testing, and compared with the threshold
block by block. An enlarged value lies between its neighbours in the small
map: where none of these exceeds the threshold, nothing is computed. NumPy
alone, so that it serves networks in any runtime.
"""
from collections.abc import Sequence

import numpy as np

from mbos.io.geometry import Geometry
from mbos.tasks import Task, Threshold

ROWS = 64
"""Rows of the photograph in a block, which then fits the processor's cache."""


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
        self._views = [_View(view, geometry, align_corners) for view in logits]

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
        labels, prob = np.zeros(self.shape, np.uint8), None
        if with_probabilities:
            prob = np.zeros((len(limits), *self.shape), np.float32)
        with np.errstate(divide='ignore'):
            logits = np.log(limits / (1 - limits))[:, None, None]
        above = [view.logits > logits for view in self._views]
        inside = labels[self._crop]
        for start in range(0, len(inside), ROWS):
            rows = slice(start, start + ROWS)
            block = inside[rows]
            highest = np.zeros(block.shape, np.float32)
            for index, limit in enumerate(limits):
                columns = slice(0, block.shape[1])
                if prob is None:
                    columns = self._where_found(index, rows, above)
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

    def _where_found(self, index: int, rows: slice,
                     above: Sequence[np.ndarray]) -> slice:
        """Columns of the crop where a class may be in some rows; ``above``
        says where the logits of each view exceed the limits."""
        spans = [
            view.span_of(found[index], rows)
            for view, found in zip(self._views, above)
        ]
        starts, stops = zip(*spans)
        return slice(min(starts), max(stops))

    def _probability(self, index: int, rows: slice,
                     columns: slice) -> np.ndarray:
        """Of a class in a window of the crop, the mean of the views."""
        total = 0
        for view in self._views:
            value = view.enlarged(index, rows, columns)
            np.negative(value, out=value)
            with np.errstate(over='ignore'):  # of a sure background
                np.exp(value, out=value)
            value += 1
            total = total + np.reciprocal(value, out=value)
        return total / len(self._views) if len(self._views) > 1 else total


class _View:
    """The logits of a view, and how they are enlarged to the crop."""

    def __init__(self, logits: np.ndarray, geometry: Geometry,
                 align_corners: bool):
        _, height, width = logits.shape
        self.logits = logits
        self.rows = _neighbours(height, geometry.padded_height,
                                geometry.pad_top, geometry.box_height,
                                align_corners)
        self.columns = _neighbours(width, geometry.padded_width,
                                   geometry.pad_left, geometry.box_width,
                                   align_corners)

    def enlarged(self, index: int, rows: slice, columns: slice) -> np.ndarray:
        """A window of a class's logits at the size of the crop."""
        upper, lower, down = (part[rows] for part in self.rows)
        left, right, across = (part[columns] for part in self.columns)
        first = upper[0]
        small = self.logits[index, first:lower[-1] + 1]
        wide = _mixed(small[:, left], small[:, right], across)
        return _mixed(wide[upper - first], wide[lower - first], down[:, None])

    def span_of(self, above: np.ndarray, rows: slice) -> tuple[int, int]:
        """First and last column of the crop where a class may be in some rows,
        of where its logits exceed the limit; the last is 0 if nowhere."""
        upper, lower, _ = (part[rows] for part in self.rows)
        left, right, _ = self.columns
        found = np.flatnonzero(above[upper[0]:lower[-1] + 1].any(axis=0))
        if not len(found):
            return len(left), 0
        return (int(np.searchsorted(right, found[0])),
                int(np.searchsorted(left, found[-1], 'right')))


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
