"""Charts of a task in the page of an evaluation, as SVG.

Made from what ``tasks.<task>`` of an ``eval_<set>.json`` holds
(docs/evaluation.md). Drawn here, not by matplotlib: its SVG has fixed colours,
which a page in light and dark cannot change, and takes twenty times as long to
make (four curves of 500 points: 460 ms and 3 s for the import, 23 ms here).
Lines differ by dashes, too; the colours are those of text, as some of the
classes' own cannot be seen on white.
"""
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from markupsafe import Markup

from .document import render_page, shown_number

SIDE = 240
LEFT, TOP, RIGHT, BOTTOM = 46, 10, 12, 40
ROW = 34
JITTER = 9


@dataclass(frozen=True)
class Series:
    """A line of a chart on the unit square, or the values ``x`` of a row of
    dots; ``mark`` is a point to stress, and ``dots`` draws every point."""

    name: str
    x: Sequence[float]
    y: Sequence[float] = ()
    mark: tuple[float, float] | None = None
    dots: bool = False
    note: str = ''


def task_charts(content: Mapping) -> list[Markup]:
    """Draw curves, on which the operating point is marked, calibration and
    distribution of a task."""
    classes, charts = content['classes'], []
    if content.get('curves'):
        charts += [
            line_chart('Precision and recall', 'recall', 'precision',
                       [_precision_recall(content, c) for c in classes]),
            line_chart('ROC', 'false positive rate', 'true positive rate',
                       [_roc(content, c) for c in classes], True)
        ]
    if content.get('calibration'):
        bins = content['calibration']
        charts.append(
            line_chart('Calibration', 'predicted probability',
                       'share of true pixels',
                       [_reliability(c, bins[c]) for c in classes], True))
    return [*charts, dot_chart([_distribution(content, c) for c in classes])]


# ---- what is drawn


def operating_point(content: Mapping, label: str) -> dict | None:
    """Recall, precision and false positive rate at the first threshold, of
    the pooled pixels, None where undefined; None without counts."""
    point = next(iter(content['thresholds']))
    counts = [
        row['counts'][point][label] for row in content['per_image']
        if label in row.get('counts', {}).get(point, {})
    ]
    if not counts:
        return None
    tp, fp, fn, tn = (
        sum(c[key] for c in counts) for key in ('tp', 'fp', 'fn', 'tn'))
    return {
        key: part / (part + rest) if part + rest else None
        for key, part, rest in (('recall', tp, fn), ('precision', tp, fp),
                                ('false_positive_rate', fp, tn))
    }


def _precision_recall(content: Mapping, label: str) -> Series:
    curve = content['curves'][label]
    total = curve['positives'] + curve['negatives']
    share = 100 * curve['positives'] / total if total else 0
    first = curve['precision'][0] if curve['recall'] else 0
    return _curve(content, label, 'recall', 'precision', first,
                  f'{_figure(content, "AP", label)}, {share:.3g} % of pixels')


def _roc(content: Mapping, label: str) -> Series:
    note = _figure(content, 'AUC-pooled', label).replace('-pooled', '')
    return _curve(content, label, 'false_positive_rate', 'recall', 0.0, note)


def _curve(content: Mapping, label: str, across: str, up: str, first: float,
           note: str) -> Series:
    """Two columns of a curve against each other, from (0, first) on: pixels of
    the highest score, which may be many, are found together."""
    curve, x, y = content['curves'][label], [], []
    if curve['recall']:
        x, y = [0.0, *curve[across]], [first, *curve[up]]
    point = operating_point(content, label) or {}
    mark = (point.get(across), point.get(up))
    return Series(label, x, y, None if None in mark else mark, note=note)


def _figure(content: Mapping, name: str, label: str) -> str:
    metric = content['comparable'].get(name, {}).get(label, {})
    return f'{name} {shown_number(metric.get("value"), 3)}'


def calibration_error(bins: Mapping) -> float | None:
    """Expected calibration error: mean distance of score and frequency over
    the pixels of ``calibration`` of a class; None without pixels."""
    score, frequency, count = _used(bins)
    if not len(count):
        return None
    return float(count @ np.abs(score - frequency) / count.sum())


def _used(bins: Mapping) -> np.ndarray:
    """Mean score, share of positives and pixels of the bins in use."""
    keys = ('mean_score', 'positives', 'count')
    score, positives, count = (np.array(bins[key], float) for key in keys)
    used = count > 0
    return np.stack([score[used], positives[used] / count[used], count[used]])


def _reliability(label: str, bins: Mapping) -> Series:
    score, frequency, _ = _used(bins).tolist()
    note = f'ECE {shown_number(calibration_error(bins))}'
    return Series(label, score, frequency, dots=True, note=note)


def _distribution(content: Mapping, label: str) -> Series:
    values = [row['Dice'].get(label) for row in content['per_image']]
    values = [value for value in values if value is not None]
    middle = shown_number(float(np.median(values)) if values else None, 3)
    note = f'median {middle} of {len(values)} images'
    return Series(label, values, note=note)


# ---- how it is drawn


def line_chart(title: str,
               x_label: str,
               y_label: str,
               series: Sequence[Series],
               diagonal: bool = False) -> Markup:
    """Draw lines, with a legend that names those without points, too;
    ``diagonal`` draws the line from 0, 0 to 1, 1."""
    lines = []
    for one in series:
        points = [(_across(x), _down(y)) for x, y in zip(one.x, one.y)
                  if x is not None and y is not None]
        # repeated points are not seen
        places = [f'{x:.1f} {y:.1f}' for (x, y), _ in groupby(points)]
        path = f'M{"L".join(places)}' if places else ''
        lines.append((one, path, _dots(points) if one.dots else ''))
    return _chart(
        'line_chart.html',
        SIDE,
        title=title,
        x_label=x_label,
        y_label=y_label,
        diagonal=diagonal,
        lines=lines)


def dot_chart(samples: Sequence[Series]) -> Markup:
    """Draw the Dice of the images, a row of dots with quartiles each."""
    rows = []
    for position, sample in enumerate(samples):
        middle = TOP + ROW * (position + 0.5)
        # spread always the same way: golden ratio steps
        heights = [
            middle + (number * 0.618034 % 1 - 0.5) * 2 * JITTER
            for number in range(len(sample.x))
        ]
        quartiles = []
        if len(sample.x):
            quartiles = np.quantile(sample.x, (0.25, 0.5, 0.75)).tolist()
        rows.append(
            (sample, middle, _dots(zip(map(_across, sample.x), heights)),
             [_across(value) for value in quartiles]))
    return _chart(
        'dot_chart.html', ROW * len(samples), rows=rows, half=ROW / 2 - 6)


def _chart(template: str, height: float, **values) -> Markup:
    """Fill a template for a chart of an inner height."""
    ticks = [(f'{v:g}', _across(v), _down(v))
             for v in (0, 0.2, 0.4, 0.6, 0.8, 1)]
    return Markup(
        render_page(
            template,
            width=LEFT + SIDE + RIGHT,
            height=TOP + height + BOTTOM,
            box=(LEFT, TOP, SIDE, height),
            ticks=ticks,
            **values))


def _across(value: float) -> float:
    return round(LEFT + SIDE * value, 1)


def _down(value: float) -> float:
    return round(TOP + SIDE * (1 - value), 1)


def _dots(points) -> str:
    """Path of dots: lines of no length with round ends."""
    return ''.join(f'M{x:.1f} {y:.1f}h0' for x, y in points)
