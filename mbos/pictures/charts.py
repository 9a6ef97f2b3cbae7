"""Small charts as SVG, in the colours of the page around them.

Lines and marks are told apart by dashes, too, not by colour alone.
"""
from dataclasses import dataclass
from typing import List, Optional, Sequence, Tuple

import numpy as np
from markupsafe import Markup

from .document import render_page

SIDE = 240
LEFT, TOP, RIGHT, BOTTOM = 46, 10, 12, 40
COLOURS = 6
"""int: CSS variables --s0, --s1, ... of the page."""

DASHES = ('', '7 3', '2 3', '9 3 2 3')
ROW = 34
JITTER = 9


@dataclass(frozen=True)
class Series:
    """A line of a chart.

    Attributes:
        name (str): In the legend.
        slot (int): Its number, for colour and dashes.
        x (Sequence[float]): In [0, 1].
        y (Sequence[float]): In [0, 1].
        mark (tuple[float, float], optional): A point to stress.
        dots (bool): Whether every point is drawn as a dot. Default: False.
        note (str): Behind the name in the legend. Default: ''.
    """

    name: str
    slot: int
    x: Sequence[float]
    y: Sequence[float]
    mark: Optional[Tuple[float, float]] = None
    dots: bool = False
    note: str = ''

    @property
    def colour(self) -> str:
        """str: In CSS."""
        return colour_of(self.slot)

    @property
    def dash(self) -> str:
        """str: Pattern of the line, as SVG writes it."""
        return DASHES[(self.slot + self.slot // COLOURS) % len(DASHES)]


def colour_of(slot: int) -> str:
    """Colour of the series of a number, in CSS."""
    return f'var(--s{slot % COLOURS})'


def _across(value: float) -> float:
    return LEFT + SIDE * min(max(value, 0.0), 1.0)


def _down(value: float) -> float:
    return TOP + SIDE * (1 - min(max(value, 0.0), 1.0))


def line_path(x: Sequence[float], y: Sequence[float]) -> str:
    """Path of a line through points in [0, 1], as SVG writes it.

    Points that fall on the one before them, to a tenth of a pixel, are left
    out, and so are undefined ones.
    """
    points, last = [], None
    for one, other in zip(x, y):
        if one is None or other is None:
            continue
        place = f'{_across(one):.1f} {_down(other):.1f}'
        if place != last:
            points.append(place)
        last = place
    return f'M{"L".join(points)}' if points else ''


def line_chart(title: str,
               x_label: str,
               y_label: str,
               series: Sequence[Series],
               diagonal: bool = False) -> Markup:
    """Draw lines on the unit square, with a legend.

    Args:
        title (str): Heading.
        x_label (str): Below.
        y_label (str): On the left.
        series (Sequence[Series]): The lines; those without points are only
            in the legend.
        diagonal (bool): Draw the line from 0, 0 to 1, 1. Default: False.

    Returns:
        Markup: A figure.
    """
    lines = [
        dict(
            series=one,
            path=line_path(one.x, one.y),
            dots=_dots(one.x, one.y) if one.dots else '',
            mark=one.mark
            and (f'{_across(one.mark[0]):.1f}', f'{_down(one.mark[1]):.1f}'))
        for one in series
    ]
    return Markup(
        render_page(
            'line_chart.html',
            title=title,
            x_label=x_label,
            y_label=y_label,
            lines=lines,
            diagonal=diagonal,
            width=LEFT + SIDE + RIGHT,
            height=TOP + SIDE + BOTTOM,
            box=(LEFT, TOP, SIDE, SIDE),
            ticks=_ticks()))


def _ticks() -> List[dict]:
    return [
        dict(text=f'{v:g}', x=_across(v), y=_down(v))
        for v in (0, 0.2, 0.4, 0.6, 0.8, 1)
    ]


def _dots(x: Sequence[float], y: Sequence[float]) -> str:
    """Path of dots: lines of no length with round ends."""
    return ''.join(f'M{_across(one):.1f} {_down(other):.1f}h0'
                   for one, other in zip(x, y)
                   if one is not None and other is not None)


@dataclass(frozen=True)
class Sample:
    """Values of a row of a distribution.

    Attributes:
        name (str): In the legend.
        slot (int): Its number, for the colour.
        values (Sequence[float]): In [0, 1].
        note (str): Behind the name in the legend.
    """

    name: str
    slot: int
    values: Sequence[float]
    note: str = ''

    @property
    def colour(self) -> str:
        """str: In CSS."""
        return colour_of(self.slot)


def dot_chart(title: str, x_label: str, samples: Sequence[Sample]) -> Markup:
    """Draw every value as a dot, with quartiles and median, a row per class.

    Args:
        title (str): Heading.
        x_label (str): Below.
        samples (Sequence[Sample]): The rows.

    Returns:
        Markup: A figure.
    """
    rows = []
    for position, sample in enumerate(samples):
        middle = TOP + ROW * (position + 0.5)
        values = np.asarray(sample.values, dtype=np.float64)
        box = None
        if len(values):
            quartiles = np.quantile(values, (0.25, 0.5, 0.75))
            box = [round(_across(float(v)), 1) for v in quartiles]
        # spread by position, always the same way: golden ratio steps
        offsets = ((np.arange(len(values)) * 0.618034) % 1 - 0.5) * 2 * JITTER
        dots = ''.join(f'M{_across(float(v)):.1f} {middle + o:.1f}h0'
                       for v, o in zip(values, offsets))
        rows.append(dict(sample=sample, middle=middle, dots=dots, box=box))
    inner = ROW * max(1, len(samples))
    return Markup(
        render_page(
            'dot_chart.html',
            title=title,
            x_label=x_label,
            rows=rows,
            width=LEFT + SIDE + RIGHT,
            height=TOP + inner + BOTTOM,
            box=(LEFT, TOP, SIDE, inner),
            half=ROW / 2 - 6,
            ticks=_ticks()))
