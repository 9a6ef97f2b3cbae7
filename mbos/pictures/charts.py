"""Small charts as SVG, in the colours of the page around them.

Drawn here, not by matplotlib: its SVG has fixed colours, which a page in light
and dark cannot change, and takes twenty times as long to make (four curves of
500 points: 460 ms and 3 s for the import, 23 ms here). Lines and marks differ
by dashes, too, not by colour alone; the colours are those of text, as some of
the classes' own cannot be seen on white.
"""
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

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
    """A line of a chart, or values of a row of a distribution.

    Attributes:
        name: In the legend.
        slot: Its number, for colour and dashes.
        x: In [0, 1].
        y: In [0, 1]; not of a distribution.
        mark: A point to stress.
        dots: Whether every point is drawn as a dot.
        note: Behind the name in the legend.
    """

    name: str
    slot: int
    x: Sequence[float]
    y: Sequence[float] = ()
    mark: tuple[float, float] | None = None
    dots: bool = False
    note: str = ''

    @property
    def colour(self) -> str:
        """str: In CSS."""
        return f'var(--s{self.slot % COLOURS})'

    @property
    def dash(self) -> str:
        """str: Pattern of the line, as SVG writes it."""
        return DASHES[(self.slot + self.slot // COLOURS) % len(DASHES)]


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

    Series without points are only in the legend; ``diagonal`` draws the line
    from 0, 0 to 1, 1.
    """
    lines = [
        dict(
            series=one,
            path=line_path(one.x, one.y),
            dots=_dots(map(_across, one.x), map(_down, one.y))
            if one.dots else '',
            mark=one.mark
            and (f'{_across(one.mark[0]):.1f}', f'{_down(one.mark[1]):.1f}'))
        for one in series
    ]
    return _chart(
        'line_chart.html',
        SIDE,
        title=title,
        x_label=x_label,
        y_label=y_label,
        lines=lines,
        diagonal=diagonal)


def _chart(template: str, inner: float, **values) -> Markup:
    """Fill a template for a chart of an inner height."""
    ticks = [
        dict(text=f'{v:g}', x=_across(v), y=_down(v))
        for v in (0, 0.2, 0.4, 0.6, 0.8, 1)
    ]
    return Markup(
        render_page(
            template,
            width=LEFT + SIDE + RIGHT,
            height=TOP + inner + BOTTOM,
            box=(LEFT, TOP, SIDE, inner),
            ticks=ticks,
            **values))


def _dots(across: Iterable[float], down: Iterable[float]) -> str:
    """Path of dots: lines of no length with round ends."""
    return ''.join(f'M{x:.1f} {y:.1f}h0' for x, y in zip(across, down))


def dot_chart(title: str, x_label: str, samples: Sequence[Series]) -> Markup:
    """Draw the values ``x`` of each series as a row of dots with quartiles."""
    rows = []
    for position, sample in enumerate(samples):
        middle = TOP + ROW * (position + 0.5)
        values = np.asarray(sample.x, dtype=np.float64)
        box = None
        if len(values):
            quartiles = np.quantile(values, (0.25, 0.5, 0.75))
            box = [round(_across(v), 1) for v in quartiles.tolist()]
        # spread by position, always the same way: golden ratio steps
        offsets = ((np.arange(len(values)) * 0.618034) % 1 - 0.5) * 2 * JITTER
        rows.append(
            dict(
                sample=sample,
                middle=middle,
                dots=_dots(map(_across, values.tolist()), middle + offsets),
                box=box))
    return _chart(
        'dot_chart.html',
        ROW * max(1, len(samples)),
        title=title,
        x_label=x_label,
        rows=rows,
        half=ROW / 2 - 6)
