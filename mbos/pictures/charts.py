"""Charts of a task in the page of an evaluation, as SVG.

Made from what ``tasks.<task>`` of an ``eval_<set>.json`` holds
(docs/evaluation.md), in the colours of the page, light or dark: some of the
classes' own cannot be seen on white.
"""
import io
import os.path as osp
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from .document import shown_number

Notes = dict[str, str]
Chart = tuple[str, str, Notes]
"""tuple: Title, SVG, and what the legend says of each class."""
STYLE = osp.join(osp.dirname(__file__), 'templates', 'charts.mplstyle')
VARIABLES = ('s0', 's1', 's2', 's3', 's4', 's5', 'faint', 'line', 'grid',
             'ink', 'panel')
"""tuple[str]: Colours of base.css; of classes first."""
FAINT, PANEL = '#0000f6', '#0000fa'
CURVES = (('Precision and recall', 'AP', 'recall', 'precision'),
          ('ROC', 'AUC-pooled', 'false_positive_rate', 'recall'))
WIDTH, HEIGHT, ROW = 3.6, 3.5, 0.45  # inches of a chart, and of a row of dots
POINT = dict(marker='o', ls='', ms=7, mec=PANEL, clip_on=False)
DIAGONAL = dict(color=FAINT, linestyle=':', linewidth=1)


def task_charts(content: Mapping) -> list[Chart]:
    """Draw curves, on which the operating point is marked, calibration and
    distribution of a task."""
    import matplotlib.style  # most who import this draw no chart
    charts = []
    with matplotlib.style.context(STYLE):
        if content.get('curves'):
            charts += [_curves(content, *curves) for curves in CURVES]
        if content.get('calibration'):
            charts.append(_calibration(content['calibration']))
        charts.append(_distribution(content))
    return charts


def operating_point(content: Mapping, label: str) -> dict[str, float]:
    """Recall, precision and false positive rate at the first threshold, of
    the pooled pixels; NaN where undefined, and without counts."""
    point = next(iter(content['thresholds']))
    counts = [row['counts'][point] for row in content['per_image']
              if point in row.get('counts', {})]  # yapf: disable
    tp, fp, fn, tn = (
        np.float64(sum(c[label][key] for c in counts if label in c))
        for key in ('tp', 'fp', 'fn', 'tn'))
    with np.errstate(invalid='ignore'):  # NaN is 0 / 0
        return dict(
            recall=tp / (tp + fn),
            precision=tp / (tp + fp),
            false_positive_rate=fp / (fp + tn))


def calibration_error(bins: Mapping) -> float | None:
    """Expected calibration error: mean distance of score and frequency over
    the pixels of ``calibration`` of a class; None without pixels."""
    score, frequency, count = _used(bins)
    distances = np.abs(score - frequency)
    return float(count @ distances / count.sum()) if len(count) else None


def _used(bins: Mapping) -> np.ndarray:
    """Mean score, share of positives and pixels of the bins in use."""
    keys = ('mean_score', 'positives', 'count')
    score, positives, count = (np.array(bins[key], float) for key in keys)
    used = count > 0
    return np.stack([score[used], positives[used] / count[used], count[used]])


def _curves(content: Mapping, title: str, metric: str, across: str,
            up: str) -> Chart:
    """Two columns of the curves against each other, from where pixels of the
    highest score, which may be many, are found together."""
    axes, notes = _axes(across, up), {}
    if title == 'ROC':
        axes.plot((0, 1), (0, 1), **DIAGONAL)
    for label in content['classes']:
        curve = content['curves'][label]
        first = curve['precision'][:1]  # nothing of an empty curve
        zero = [0.] * len(first)
        x = np.array(zero + curve[across], float)
        lowest = first if up == 'precision' else zero
        y = np.array(lowest + curve[up], float)
        line, = axes.plot(x, y, clip_on=False)
        point = operating_point(content, label)
        axes.plot(point[across], point[up], color=line.get_color(), **POINT)
        value = content['comparable'].get(metric, {}).get(label, {})
        total = curve['positives'] + curve['negatives']
        share = 100 * curve['positives'] / max(total, 1)
        notes[label] = f'{metric.removesuffix("-pooled")} ' \
            f'{shown_number(value.get("value"), 3)}, {share:.3g} % of pixels'
    return _chart(title, axes, notes)


def _calibration(bins_of: Mapping) -> Chart:
    axes = _axes('predicted probability', 'share of true pixels')
    axes.plot((0, 1), (0, 1), **DIAGONAL)
    notes = {}
    for label, bins in bins_of.items():
        score, frequency, _ = _used(bins)
        axes.plot(score, frequency, marker='o', clip_on=False)
        notes[label] = f'ECE {shown_number(calibration_error(bins))}'
    return _chart('Calibration', axes, notes)


def _distribution(content: Mapping) -> Chart:
    """A row of dots per class, with quartiles."""
    classes, notes = content['classes'], {}
    axes = _axes('Dice', height=ROW * len(classes) + 0.5)
    axes.set_ylim(len(classes) - 0.5, -0.5)
    axes.set_yticks(range(len(classes)), classes)
    axes.grid(axis='y', visible=False)
    for row, label in enumerate(classes):
        found = (image['Dice'].get(label) for image in content['per_image'])
        values = np.array([value for value in found if value is not None])
        # spread always the same way: golden ratio steps
        heights = row + (np.arange(len(values)) * 0.618034 % 1 - 0.5) / 2
        low, middle, high = np.quantile(
            values, (0.25, 0.5, 0.75)) if len(values) else 3 * [np.nan]
        look = dict(color=f'C{row % 6}', clip_on=False)
        axes.barh(row, high - low, 0.66, low, alpha=0.2, **look)
        axes.plot(values, heights, 'o', alpha=0.55, **look)
        axes.plot(middle, row, '|', markersize=20, mew=2, **look)
        median = shown_number(middle, 3)
        notes[label] = f'median {median} of {len(values)} images'
    return _chart('Dice of the images', axes, notes)


def _axes(across: str, up: str = '', height: float = HEIGHT) -> Any:
    """Axes from 0 to 1 on a figure of their own."""
    from matplotlib.figure import Figure
    figure = Figure((WIDTH, height), layout='constrained')
    axes = figure.add_subplot(xlim=(0, 1), ylim=(0, 1))
    axes.set(xlabel=across.replace('_', ' '), ylabel=up)
    return axes


def _chart(title: str, axes: Any, notes: Notes) -> Chart:
    file = io.StringIO()
    axes.figure.savefig(file, format='svg', transparent=True)
    # ids are the same in every chart
    unwanted = r'^.*?(?=<svg)|<metadata>.*?</metadata>| id="[\w.]+_\d+"'
    svg = re.sub(unwanted, '', file.getvalue(), flags=re.DOTALL)
    for number, name in enumerate(VARIABLES):
        svg = svg.replace(f'#0000f{number:x}', f'var(--{name})')
    return title, svg, notes
