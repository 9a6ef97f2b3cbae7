import re

from mbos.pictures.charts import (BOTTOM, LEFT, RIGHT, ROW, SIDE, TOP, Series,
                                  dot_chart, line_chart)


def test_lines_by_hand():
    # the unit square begins at (46, 10) and is 240 pixels wide and high
    assert (LEFT, TOP, SIDE) == (46, 10, 240)
    svg = line_chart(
        'A <b>',
        'x',
        'y', [
            Series(
                'EX', [0, 0.0001, None, 0.5, 1], [0, 0.0001, 0.5, 0.25, 1],
                mark=(0.5, 0.5),
                note='AP 0.5'),
            Series('"HE"', [], [], note='AP –')
        ],
        diagonal=True)
    assert f'viewBox="0 0 {LEFT + SIDE + RIGHT} {TOP + SIDE + BOTTOM}"' in svg
    # what is undefined or not seen is left out
    assert 'd="M46.0 250.0L166.0 190.0L286.0 10.0"' in svg and 'd=""' in svg
    assert ('aria-label="A &lt;b&gt;: y against x of EX (AP 0.5), '
            '&#34;HE&#34; (AP –)"') in svg
    assert '<b>' not in svg and '<circle class="mark" cx="166.0"' in svg
    assert svg.count('<li>') == 2 and 'class="diagonal"' in svg


def test_series_are_told_apart_without_colour():
    svg = line_chart('', '', '', [Series('', [], [])] * 12)
    looks = re.findall(r'<g class="series (colour-. (dash-.))"', svg)
    assert len(set(looks)) == 12
    assert len({dash for _, dash in looks[:4]}) == 4


def test_rows_show_quartiles():
    svg = dot_chart([
        Series('EX', [0, 0.25, 0.5, 0.75, 1.0], note='median 0.5'),
        Series('a long name', [])
    ])
    assert f'viewBox="0 0 {LEFT + SIDE + RIGHT} {TOP + 2 * ROW + BOTTOM}"' \
        in svg
    box = re.search(r'class="quartiles" x="([\d.]+)"[^>]*width="([\d.]+)"',
                    svg)
    # from 0.25 to 0.75
    assert [float(v) for v in box.groups()] == [LEFT + 60, 120]
    assert f'class="median" d="M{LEFT + 120.0} ' in svg
    assert svg.count('h0') == 5 and 'a long…' in svg
