import re

import pytest

from mbos.pictures.charts import (BOTTOM, LEFT, RIGHT, ROW, SIDE, TOP, Series,
                                  dot_chart, line_chart, line_path)


def test_path_by_hand():
    # the unit square begins at (46, 10) and is 240 pixels wide and high
    assert (LEFT, TOP, SIDE) == (46, 10, 240)
    assert line_path([0, 0.5, 1], [0, 0.25, 1]) == \
        'M46.0 250.0L166.0 190.0L286.0 10.0'


def test_path_leaves_out_what_is_not_seen():
    assert line_path([0, 0.0001, None, 1], [0, 0.0001, 0.5, 1]) == \
        'M46.0 250.0L286.0 10.0'
    assert line_path([], []) == ''


def test_line_chart_names_everything():
    svg = line_chart(
        'A <b>',
        'x',
        'y', [
            Series('EX', 0, [0, 1], [0, 1], mark=(0.5, 0.5), note='AP 0.5'),
            Series('"HE"', 1, [], [], note='AP –')
        ],
        diagonal=True)
    assert f'viewBox="0 0 {LEFT + SIDE + RIGHT} {TOP + SIDE + BOTTOM}"' in svg
    assert ('aria-label="A &lt;b&gt;: y against x of EX (AP 0.5), '
            '&#34;HE&#34; (AP –)"') in svg
    assert '<b>' not in svg and '<circle class="mark" cx="166.0"' in svg
    assert svg.count('<li>') == 2 and 'class="diagonal"' in svg


def test_series_are_told_apart_without_colour():
    dashes = [Series('', slot, [], []).dash for slot in range(4)]
    assert len(set(dashes)) == 4 and dashes[0] == ''
    series = [Series('', slot, [], []) for slot in range(12)]
    looks = {(one.colour, one.dash) for one in series}
    assert len(looks) == 12


def test_dot_chart_shows_quartiles():
    svg = dot_chart('Dice', 'Dice', [
        Series('EX', 0, [0, 0.25, 0.5, 0.75, 1.0], note='median 0.5'),
        Series('a long name', 1, [])
    ])
    assert f'viewBox="0 0 {LEFT + SIDE + RIGHT} {TOP + 2 * ROW + BOTTOM}"' \
        in svg
    box = re.search(r'class="quartiles" x="([\d.]+)"[^>]*width="([\d.]+)"',
                    svg)
    # from 0.25 to 0.75
    assert [float(v) for v in box.groups()] == [LEFT + 60, 120]
    assert f'class="median" d="M{LEFT + 120.0} ' in svg
    assert svg.count('h0') == 5 and 'a long…' in svg


@pytest.mark.parametrize('value, place', [(-0.1, 46), (1.2, 286)])
def test_what_is_outside_is_drawn_at_the_edge(value, place):
    assert line_path([value], [0]) == f'M{place}.0 250.0'
