"""Metrics of one histogram of scores: areas, curves, calibration, thresholds.

All of them are of the pixels of all images in the histogram together. A
group of a histogram stands for several scores, half of which each of its own
pixels exceeds; scikit-learn's average_precision_score would take them for
ties.
"""
from typing import NamedTuple

import numpy as np

from .score_histogram import Histogram
from .score_ranking import key_scores

CURVE_POINTS = 500
"""int: Most points of a curve that is written to a file."""

CALIBRATION_BINS = 20
"""int: Bins of equal width on [0, 1]."""


def histogram_curve(
        histogram: Histogram) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Descending scores, and true and false positives at ``p >= score``."""
    scores = key_scores(histogram.marks[::-1] // 2)
    return (scores, np.cumsum(histogram.positives[::-1]),
            np.cumsum(histogram.negatives[::-1]))


def histogram_area(histogram: Histogram) -> float:
    """ROC AUC; NaN without positives or without negatives."""
    if not (histogram.positives.any() and histogram.negatives.any()):
        return float('nan')
    from sklearn.metrics import auc  # half a second of every start otherwise
    _, true_pos, false_pos = histogram_curve(histogram)
    return float(
        auc(
            np.append(0, false_pos) / false_pos[-1],
            np.append(0, true_pos) / true_pos[-1]))


def histogram_precision(histogram: Histogram) -> float:
    """Average precision; NaN without positives.

    Scores that are equal are a tie, as in scikit-learn. Where a group stands
    for several scores, its positives see half of the group on average.
    """
    marks, positives, negatives = (a[::-1] for a in histogram)
    keep = positives > 0
    if not keep.any():
        return float('nan')
    mixed = marks % 2 == 1
    before_pos = np.cumsum(positives) - positives
    before_neg = np.cumsum(negatives) - negatives
    true_pos = before_pos + np.where(mixed, (positives + 1) / 2, positives)
    false_pos = before_neg + np.where(mixed, negatives / 2, negatives)
    precision = true_pos[keep] / (true_pos + false_pos)[keep]
    return float(positives[keep] @ precision / positives.sum())


class BestThreshold(NamedTuple):
    """A threshold for ``p > threshold`` and the pooled Dice there."""

    threshold: float
    dice: float


def best_threshold(histogram: Histogram) -> BestThreshold | None:
    """Find the threshold of the highest pooled Dice; None without positives.

    It is a float32 number, half way (in bits) between the lowest score taken
    and the highest one left out; the highest such threshold, if several do.
    """
    keys = histogram.marks[::-1] // 2
    lower = np.append(keys[1:], 0)
    usable = keys > lower  # nothing is below 0; equal keys go together
    total = int(histogram.positives.sum())
    if total == 0 or not usable.any():
        return None
    true_pos = np.cumsum(histogram.positives[::-1])[usable]
    found = true_pos + np.cumsum(histogram.negatives[::-1])[usable]
    dice = 2 * true_pos / (found + total)
    best = int(dice.argmax())
    middle = (keys[usable][best] + lower[usable][best]) // 2
    return BestThreshold(float(key_scores(middle)), float(dice[best]))


def curve_points(histogram: Histogram,
                 most: int = CURVE_POINTS) -> dict[str, object]:
    """Thin the curves out to what a picture needs, ``most`` points at most.

    Returns:
        dict: Lists ``threshold``, ``recall``, ``precision`` and
        ``false_positive_rate``, and the numbers ``positives`` and
        ``negatives``. The lists are empty without positives; rates without
        negatives are None.
    """
    scores, true_pos, false_pos = histogram_curve(histogram)
    positives = int(histogram.positives.sum())
    negatives = int(histogram.negatives.sum())
    rows = dict(threshold=[], recall=[], precision=[], false_positive_rate=[])
    if positives:
        keep = _spread_points(true_pos / positives,
                              false_pos / max(negatives, 1), most)
        true_pos, false_pos = true_pos[keep], false_pos[keep]
        rows = dict(
            threshold=scores[keep].tolist(),
            recall=(true_pos / positives).tolist(),
            precision=(true_pos / (true_pos + false_pos)).tolist(),
            false_positive_rate=(false_pos /
                                 negatives).tolist() if negatives else [None] *
            len(keep))
    return dict(rows, positives=positives, negatives=negatives)


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


def calibration(histogram: Histogram,
                bins: int = CALIBRATION_BINS) -> dict[str, list]:
    """Compare scores with the share of positives among them.

    Returns:
        dict: Lists ``low``, ``high``, ``count``, ``positives`` and
        ``mean_score`` (None for an empty bin) of bins of equal width on
        [0, 1]; the last one includes 1.
    """
    scores = key_scores(histogram.marks // 2).astype(np.float64)
    place = np.minimum((scores * bins).astype(np.int64), bins - 1)
    both = histogram.positives + histogram.negatives
    counts = np.bincount(place, both, bins)
    sums = np.bincount(place, both * scores, bins)
    return dict(
        low=[i / bins for i in range(bins)],
        high=[(i + 1) / bins for i in range(bins)],
        count=[int(c) for c in counts],
        positives=[
            int(p) for p in np.bincount(place, histogram.positives, bins)
        ],
        mean_score=[float(s / c) if c else None for s, c in zip(sums, counts)])
