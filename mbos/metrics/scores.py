"""Scores of one class: ranked pixels of an image, and counts in bins.

Pixels of an image are sorted, so what is computed of one image is exact. Of
several images together, scores are counted in the bins between ``EDGES``, as
if they had 11 significant bits; those of one bin are ties. The bins are as
narrow next to 1 as next to 0, so that what a saturated sigmoid squeezes below
1e-3 or above 0.999 stays apart.
"""
import zlib
from collections.abc import Sequence

import numpy as np

# float32 numbers of 11 bits, their distances from 1, and twentieths
_SMALL = np.arange(*np.float32([2.0**-32, 0.5]).view(np.int32), 1 << (23 - 11),
                   np.int32).view(np.float32)
EDGES = np.unique(
    np.concatenate([_SMALL, 1 - _SMALL,
                    np.float32(np.arange(1, 21) / 20)]))
"""ndarray: Highest score of each bin, ascending; the first bin begins at 0,
the last one ends at 1."""
CURVE_POINTS = 500
CALIBRATION_BINS = 20  # whose ends are among EDGES
Ranked = tuple[np.ndarray, np.ndarray]
"""Scores of some pixels, ascending: of positive ones, and of all."""


def ratio(above, below) -> np.ndarray:
    """Divide; NaN where the denominator is 0."""
    with np.errstate(invalid='ignore', divide='ignore'):
        return np.where(below != 0, np.true_divide(above, below), np.nan)


def rank_scores(prob: np.ndarray,
                target: np.ndarray,
                mask: np.ndarray | None = None) -> Ranked:
    """Sort the probabilities of an image, or of the part in a mask; ``target``
    says which pixels are positive."""
    ranked = (prob[target if mask is None else target & mask],
              prob.flatten() if mask is None else prob[mask])
    for scores in ranked:
        scores.sort()  # in place: they are copies; NaN become the last
    low, high = ranked[1][[0, -1]] if len(ranked[1]) else (0, 1)
    if not 0 <= low <= high <= 1:
        raise ValueError(
            f'Probabilities must lie in [0, 1], got {low} to {high}; where '
            'they are NaN, the network or its checkpoint is broken.')
    return ranked


def count_above(ranked: Ranked, thresholds: Sequence[float]) -> np.ndarray:
    """Count true positives, false positives, false negatives and true
    negatives of ``p > threshold`` in float32: int64 (thresholds, 4)."""
    limits = np.asarray(thresholds, dtype=np.float32)
    false_neg, negative = (
        np.searchsorted(scores, limits, side='right') for scores in ranked)
    true_pos = len(ranked[0]) - false_neg
    false_pos = len(ranked[1]) - negative - true_pos
    return np.stack([true_pos, false_pos, false_neg, negative - false_neg], -1)


def area_and_precision(parts: Sequence[Ranked]) -> tuple[float, float]:
    """Exact ROC AUC and average precision of the pixels of all parts; NaN
    without positives, the area also without negatives. Equal scores are ties,
    as in scikit-learn, which would sort them again."""
    positives = np.sort(np.concatenate([own for own, _ in parts]))
    total = len(positives)
    negatives = sum(len(pixels) for _, pixels in parts) - total
    if total == 0:
        return float('nan'), float('nan')
    starts = np.flatnonzero(np.diff(positives, prepend=np.float32(-1)))
    counts = np.diff(starts, append=total)
    # negatives below and not above each of the scores of positives
    below, upto = (
        sum(
            np.searchsorted(pixels, positives[starts], side)
            for _, pixels in parts) for side in ('left', 'right'))
    below, upto = below - starts, upto - starts - counts
    found = total - starts
    precision = found / (found + negatives - below)
    lower = counts @ (below + upto)
    area = lower / (2.0 * total * negatives) if negatives else float('nan')
    return float(area), float(counts @ precision / total)


def histogram(ranked: Ranked) -> np.ndarray:
    """Count positives and negatives in the bins: int64 (2, bins)."""
    # searching the fewer numbers among the more
    positives = np.bincount(
        np.searchsorted(EDGES, ranked[0]), minlength=len(EDGES))
    pixels = np.diff(
        np.searchsorted(ranked[1], EDGES, side='right'), prepend=0)
    return np.stack([positives, pixels - positives])


def rank_histograms(positives: np.ndarray,
                    negatives: np.ndarray) -> np.ndarray:
    """ROC AUC and average precision of counts (..., bins): (..., 2), NaN where
    undefined."""
    num_pos, num_neg = positives.sum(-1), negatives.sum(-1)
    below = np.cumsum(negatives, -1, dtype=np.float64) - negatives / 2
    positives, negatives = positives[..., ::-1], negatives[..., ::-1]
    true_pos = np.cumsum(positives, -1, dtype=np.float64)
    found = true_pos + np.cumsum(negatives, -1)
    with np.errstate(invalid='ignore', divide='ignore'):
        area = (positives * below[..., ::-1]).sum(-1) / num_pos / num_neg
        precision = positives * true_pos / np.maximum(found, 1)
        return np.stack([area, precision.sum(-1) / num_pos], -1)


def pack_histograms(counts: np.ndarray) -> np.ndarray:
    """Compress counts (2, regions, classes, bins), most of which are 0."""
    packed = zlib.compress(counts.astype('<u4').tobytes(), 1)
    return np.frombuffer(packed, np.uint8)


def unpack_histograms(packed: np.ndarray, classes: int) -> np.ndarray:
    """Undo :func:`pack_histograms`; the counts are uint32."""
    counts = np.frombuffer(zlib.decompress(packed), dtype='<u4')
    return counts.reshape(2, -1, classes, len(EDGES))


# ---- curves, calibration and thresholds from counts in bins


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
    that docs/evaluation.md describes, empty without positives."""
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
    width on [0, 1]; a bin includes its upper end, the first one also 0."""
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
