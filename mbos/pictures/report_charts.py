"""Charts of a task in the page of an evaluation.

Made from what ``tasks.<task>`` of an ``eval_<set>.json`` holds
(docs/evaluation.md). Marks on curves are the operating point.
"""
from collections.abc import Mapping

import numpy as np
from markupsafe import Markup

from .charts import Series, dot_chart, line_chart
from .document import shown_number

FIRST_POINT = '0.5'


def task_charts(content: Mapping) -> list[Markup]:
    """Draw curves, calibration and distribution of a task."""
    charts = []
    if content.get('curves'):
        charts += [_precision_recall(content), _roc(content)]
    if content.get('calibration'):
        charts.append(_reliability(content))
    return charts + [_distribution(content)]


def operating_point(content: Mapping, label: str) -> dict | None:
    """Recall, precision and false positive rate at the first threshold.

    They are of the pooled pixels, None where undefined; None without counts.
    """
    point = next(iter(content['thresholds']), FIRST_POINT)
    counts = [
        row['counts'][point][label] for row in content['per_image']
        if label in row.get('counts', {}).get(point, {})
    ]
    if not counts:
        return None
    tp, fp, fn, tn = (
        sum(c[key] for c in counts) for key in ('tp', 'fp', 'fn', 'tn'))
    shares = dict(
        recall=(tp, fn), precision=(tp, fp), false_positive_rate=(fp, tn))
    return {
        key: part / (part + rest) if part + rest else None
        for key, (part, rest) in shares.items()
    }


def _curves(content, across, up, start, note) -> list[Series]:
    """Two columns of the curves against each other, from a first point on."""
    series = []
    for slot, label in enumerate(content['classes']):
        curve = content['curves'][label]
        points = zip(curve[across], curve[up]) if curve['recall'] else ()
        points = list(points)
        if points:
            # the pixels of the highest score, which may be many, are found
            # together
            points.insert(0, (0.0, points[0][1] if start is None else start))
        own = operating_point(content, label) or {}
        mark = own.get(across), own.get(up)
        series.append(
            Series(
                label,
                slot, [x for x, _ in points], [y for _, y in points],
                mark=None if None in mark else mark,
                note=note(label, curve)))
    return series


def _figure(content: Mapping, name: str, label: str) -> str:
    metric = content['comparable'].get(name, {}).get(label)
    return f'{name} ' + shown_number(metric['value'] if metric else None, 3)


def _precision_recall(content) -> Markup:

    def note(label, curve):
        total = curve['positives'] + curve['negatives']
        share = 100 * curve['positives'] / total if total else 0
        return f'{_figure(content, "AP", label)}, {share:.3g} % of pixels'

    return line_chart('Precision and recall', 'recall', 'precision',
                      _curves(content, 'recall', 'precision', None, note))


def _roc(content) -> Markup:

    def note(label, curve):
        return _figure(content, 'AUC-pooled', label).replace('-pooled', '')

    return line_chart(
        'ROC',
        'false positive rate',
        'true positive rate',
        _curves(content, 'false_positive_rate', 'recall', 0.0, note),
        diagonal=True)


def calibration_error(bins: Mapping) -> float | None:
    """Expected calibration error: mean distance of score and frequency.

    It is the mean over the pixels of ``calibration`` of a class; None without
    pixels.
    """
    score, frequency, count = _used(bins)
    if not len(count):
        return None
    return float(count @ np.abs(score - frequency) / count.sum())


def _used(bins: Mapping) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean score, share of positives and pixels of the bins in use."""
    rows = [(score, found / count, count) for score, found, count in zip(
        bins['mean_score'], bins['positives'], bins['count']) if count]
    score, frequency, count = np.array(rows).reshape(-1, 3).T
    return score, frequency, count


def _reliability(content) -> Markup:
    series = []
    for slot, label in enumerate(content['classes']):
        bins = content['calibration'][label]
        score, frequency, _ = _used(bins)
        series.append(
            Series(
                label,
                slot,
                score,
                frequency,
                dots=True,
                note=f'ECE {shown_number(calibration_error(bins))}'))
    return line_chart(
        'Calibration',
        'predicted probability',
        'share of true pixels',
        series,
        diagonal=True)


def _distribution(content) -> Markup:
    samples = []
    for slot, label in enumerate(content['classes']):
        values = [row['Dice'].get(label) for row in content['per_image']]
        values = [v for v in values if v is not None]
        middle = shown_number(float(np.median(values)) if values else None, 3)
        samples.append(
            Series(
                label,
                slot,
                values,
                note=f'median {middle} of {len(values)} images'))
    return dot_chart('Dice of the images', 'Dice', samples)
