"""Curves, calibration and thresholds from counts of scores in bins."""
import numpy as np

from .scores import EDGES
from .tables import ratio

CURVE_POINTS = 500
"""int: Most points of a curve that is written to a file."""

CALIBRATION_BINS = 20
"""int: Bins of equal width on [0, 1], whose ends are among ``EDGES``."""


def best_threshold(positives: np.ndarray,
                   negatives: np.ndarray) -> tuple[float, float | None]:
    """The edge with the highest pooled Dice above it, the highest one if
    several have it, and that Dice; 0.5 and None if no positive is above any.
    """
    # above each edge but the last one
    true_pos = np.cumsum(positives[:0:-1])
    if not true_pos.any():
        return 0.5, None
    found = true_pos + np.cumsum(negatives[:0:-1])
    dice = 2 * true_pos / (found + positives.sum())
    best = int(dice.argmax())
    return float(EDGES[-2 - best]), float(dice[best])


def curve_points(positives: np.ndarray,
                 negatives: np.ndarray) -> dict[str, object]:
    """Precision-recall and ROC curve in ``CURVE_POINTS`` points at most: lists
    that docs/evaluation.md describes, empty without positives.
    """
    num_pos, num_neg = int(positives.sum()), int(negatives.sum())
    curve = dict(threshold=[], recall=[], precision=[], false_positive_rate=[])
    if num_pos:
        used = np.flatnonzero(positives + negatives)[::-1]
        hits, alarms = np.cumsum(positives[used]), np.cumsum(negatives[used])
        # Evenly along both curves, and with alarms on a logarithmic scale: a
        # precision-recall curve bends where there are few of them.
        keep = np.unique([
            np.searchsorted(x, np.linspace(x[0], x[-1], CURVE_POINTS // 3))
            for x in (hits, alarms, np.log1p(alarms))
        ])
        hits, alarms = hits[keep], alarms[keep]
        curve = dict(
            # the score of which all pixels of a bin are above
            threshold=np.append(0, EDGES)[used[keep]].tolist(),
            recall=(hits / num_pos).tolist(),
            precision=(hits / (hits + alarms)).tolist(),
            false_positive_rate=ratio(alarms, num_neg).tolist())
    return dict(curve, positives=num_pos, negatives=num_neg)


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
        mean_score=ratio(sums, counts).tolist())
