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
    classes = list(enumerate(content['classes']))
    charts = []
    if content.get('curves'):
        charts += [_precision_recall(content, classes), _roc(content, classes)]
    if content.get('calibration'):
        charts.append(_reliability(content, classes))
    charts.append(_distribution(content, classes))
    return charts


def _figure(content: Mapping, name: str, label: str) -> str:
    metric = content['comparable'].get(name, {}).get(label)
    return shown_number(metric['value'] if metric else None, 3)


def operating_point(content: Mapping,
                    label: str) -> dict[str, float | None] | None:
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

    def share(part, rest):
        return part / (part + rest) if part + rest else None

    return dict(
        recall=share(tp, fn),
        precision=share(tp, fp),
        false_positive_rate=share(fp, tn))


def _mark(content, label, across, up) -> tuple[float, float] | None:
    point = operating_point(content, label)
    if point is None or point[across] is None or point[up] is None:
        return None
    return point[across], point[up]


def _precision_recall(content, classes) -> Markup:
    series = []
    for slot, label in classes:
        curve = content['curves'][label]
        total = curve['positives'] + curve['negatives']
        share = 100 * curve['positives'] / total if total else 0
        series.append(
            Series(
                label,
                slot,
                # the pixels of the highest score, which may be many, are
                # found together
                [0.0, *curve['recall']] if curve['recall'] else [],
                [*curve['precision'][:1], *curve['precision']],
                mark=_mark(content, label, 'recall', 'precision'),
                note=f'AP {_figure(content, "AP", label)}, '
                f'{share:.3g} % of pixels'))
    return line_chart('Precision and recall', 'recall', 'precision', series)


def _roc(content, classes) -> Markup:
    series = []
    for slot, label in classes:
        curve = content['curves'][label]
        # thresholds descend to the lowest score; above all is nothing
        series.append(
            Series(
                label,
                slot, [0.0, *curve['false_positive_rate']] if curve['recall']
                else [], [0.0, *curve['recall']] if curve['recall'] else [],
                mark=_mark(content, label, 'false_positive_rate', 'recall'),
                note=f'AUC {_figure(content, "AUC-pooled", label)}'))
    return line_chart(
        'ROC',
        'false positive rate',
        'true positive rate',
        series,
        diagonal=True)


def calibration_error(bins: Mapping) -> float | None:
    """Expected calibration error: mean distance of score and frequency.

    It is the mean over the pixels of ``calibration`` of a class; None without
    pixels.
    """
    count = np.array(bins['count'], dtype=np.float64)
    if count.sum() == 0:
        return None
    used = count > 0
    score = np.array([s or 0.0 for s in bins['mean_score']])[used]
    frequency = np.array(bins['positives'])[used] / count[used]
    return float((count[used] * np.abs(score - frequency)).sum() / count.sum())


def _reliability(content, classes) -> Markup:
    series = []
    for slot, label in classes:
        bins = content['calibration'][label]
        used = [i for i, count in enumerate(bins['count']) if count]
        error = shown_number(calibration_error(bins))
        series.append(
            Series(
                label,
                slot, [bins['mean_score'][i] for i in used],
                [bins['positives'][i] / bins['count'][i] for i in used],
                dots=True,
                note=f'ECE {error}'))
    return line_chart(
        'Calibration',
        'predicted probability',
        'share of true pixels',
        series,
        diagonal=True)


def _distribution(content, classes) -> Markup:
    samples = []
    rows = content['per_image']
    for slot, label in classes:
        values = [row['Dice'].get(label) for row in rows]
        values = [v for v in values if v is not None]
        middle = shown_number(float(np.median(values)) if values else None, 3)
        samples.append(
            Series(
                label,
                slot,
                values,
                note=f'median {middle} of {len(values)} images'))
    return dot_chart('Dice of the images', 'Dice', samples)
