"""Curves, calibration and thresholds from counts of scores in bins."""
from typing import NamedTuple

import numpy as np

from .scores import EDGES

CURVE_POINTS = 500
"""int: Most points of a curve that is written to a file."""

CALIBRATION_BINS = 20
"""int: Bins of equal width on [0, 1], whose ends are among ``EDGES``."""


class BestThreshold(NamedTuple):
    """A threshold for ``p > threshold`` and the pooled Dice there; as it is
    without arguments for a class that does not occur.
    """

    threshold: float = 0.5
    dice: float | None = None


def best_threshold(positives: np.ndarray,
                   negatives: np.ndarray) -> BestThreshold:
    """Find the edge with the highest pooled Dice above it, the highest one if
    several have it.
    """
    # above each edge but the last one
    true_pos = np.cumsum(positives[:0:-1])
    if not true_pos.any():
        return BestThreshold()
    found = true_pos + np.cumsum(negatives[:0:-1])
    dice = 2 * true_pos / (found + positives.sum())
    best = int(dice.argmax())
    return BestThreshold(float(EDGES[-2 - best]), float(dice[best]))


def curve_points(positives: np.ndarray,
                 negatives: np.ndarray,
                 most: int = CURVE_POINTS) -> dict[str, object]:
    """Thin the curves out to what a picture needs, ``most`` points at most:
    lists that docs/evaluation.md describes, empty without positives; rates
    without negatives are None.
    """
    num_pos, num_neg = int(positives.sum()), int(negatives.sum())
    rows = dict(threshold=[], recall=[], precision=[], false_positive_rate=[])
    if num_pos:
        used = np.flatnonzero(positives + negatives)[::-1]
        true_pos = np.cumsum(positives[used])
        false_pos = np.cumsum(negatives[used])
        keep = _spread_points(true_pos / num_pos, false_pos / max(num_neg, 1),
                              most)
        true_pos, false_pos = true_pos[keep], false_pos[keep]
        rates = (false_pos /
                 num_neg).tolist() if num_neg else [None] * len(keep)
        rows = dict(
            # the score of which all pixels of a bin are above
            threshold=np.append(0, EDGES)[used[keep]].tolist(),
            recall=(true_pos / num_pos).tolist(),
            precision=(true_pos / (true_pos + false_pos)).tolist(),
            false_positive_rate=rates)
    return dict(rows, positives=num_pos, negatives=num_neg)


def _spread_points(recall, false_rate, most):
    """Choose points evenly along both curves, the first and last included."""
    share = most // 3
    # False positives on a logarithmic scale: a precision-recall curve bends
    # where there are few of them.
    rare = np.log1p(false_rate / max(false_rate[-1], 1e-300) * 1e6)
    kept = [np.array([0, len(recall) - 1])]
    for axis in (recall, false_rate, rare):
        steps = np.linspace(axis[0], axis[-1], share - 1)
        kept.append(np.searchsorted(axis, steps).clip(0, len(axis) - 1))
    return np.unique(np.concatenate(kept))


def calibration(positives: np.ndarray,
                negatives: np.ndarray) -> dict[str, list]:
    """Compare scores with the share of positives among them, in bins of equal
    width on [0, 1]; a bin includes its upper end, the first one also 0.
    """
    ends = np.arange(CALIBRATION_BINS + 1) / CALIBRATION_BINS
    place = np.searchsorted(np.float32(ends[1:]), EDGES)
    middle = EDGES - np.diff(EDGES, prepend=np.float32(0)) / 2
    both = positives + negatives
    counts, found, sums = (
        np.bincount(place, values, CALIBRATION_BINS)
        for values in (both, positives, both * middle))
    return dict(
        low=ends[:-1].tolist(),
        high=ends[1:].tolist(),
        count=counts.astype(int).tolist(),
        positives=found.astype(int).tolist(),
        mean_score=[float(s / c) if c else None for s, c in zip(sums, counts)])
