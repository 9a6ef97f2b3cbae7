"""What charts show, read from their SVG."""
import re

import numpy as np
import pytest

from mbos.pictures.charts import (calibration_error, operating_point,
                                  task_charts)
from mbos.pictures.report_page import Section, render_report
from tests.evaluations import make_evaluation, make_task


def lines(svg, colour):
    """Points of the lines of a colour, from 0 to 1 in both directions."""
    found = []
    pattern = rf'<path d="([^"]*)"[^>]*stroke: var\(--{colour}\)'
    for path in re.findall(pattern, svg):
        points = np.float64(re.findall(r'[\d.]+', path)).reshape(-1, 2)
        points = (points - points.min(axis=0)) / np.ptp(points, axis=0)
        found.append(points * (1, -1) + (0, 1))
    return found


def dots(svg, colour):
    """Columns of the dots of a colour, in pixels."""
    pattern = rf'<use [^>]*?x="([\d.]+)"[^>]*fill: var\(--{colour}\)'
    return np.float64(re.findall(pattern, svg))


def test_curves_and_their_legends():
    content = make_task(('EX', 'HE'))
    (_, precision, notes), (_, roc, notes_of_roc), *_ = task_charts(content)
    # recall 0.2, 0.8, 1 at precision 1, 0.8, 0.1, from (0, 1) on
    line, = lines(precision, 's1')
    expected = np.array([(0, 1), (.2, 1), (.8, .8), (1, .1)])
    np.testing.assert_allclose(line * (1, .9) + (0, .1), expected, atol=0.001)
    line, = lines(roc, 's0')
    expected = [(0, 0), (0, .2), (.02, .8), (1, 1)]
    np.testing.assert_allclose(line, expected, atol=0.001)
    assert len(dots(roc, 's0')) == 1, 'the operating point'
    assert notes['EX'] == 'AP 0.650, 10 % of pixels'
    assert notes_of_roc['EX'] == 'AUC –, 10 % of pixels'
    empty = dict(recall=[], precision=[], false_positive_rate=[], positives=0)
    content['curves']['EX'].update(empty)
    for _, svg, _ in task_charts(content)[:2]:
        assert not lines(svg, 's0') and len(dots(svg, 's0')) == 1


def test_twelve_classes_look_different():
    names = [f'<i>{number} $x_$' for number in range(12)]
    page = render_report(
        [Section(make_evaluation(lesion=make_task(names)), 'lesion')], '')
    assert '<i>' not in page and page.count('&lt;i&gt;11 $x_$') > 2
    keys = re.findall(r'class="key (colour-. dash-.)"', page)
    assert len(set(keys)) == 12
    assert len({key[-6:] for key in keys[:4]}) == 4, 'also without colour'
    looks = re.findall(r'<path d=[^>]*style="([^"]*var\(--s\d\)[^"]*)"', page)
    assert len({look for look in looks if 'fill: none' in look}) >= 12


def test_rows_of_dots_show_the_median():
    content = make_task(('EX', ), 5, dice=[0, 0.25, 0.5, 0.75, 1.0])
    _, svg, notes = task_charts(content)[-1]
    columns = dots(svg, 's0')
    assert len(columns) == 5 + 1
    assert columns[-1] == pytest.approx((columns.min() + columns.max()) / 2)
    assert notes == dict(EX='median 0.500 of 5 images')
    _, _, notes = task_charts(make_task(('EX', ), 1, dice=[None]))[-1]
    assert notes == dict(EX='median – of 0 images')


def test_calibration_and_operating_point_by_hand():
    bins = dict(count=[900, 0, 100], positives=[20, 0, 80])
    bins['mean_score'] = [0.1, None, 0.9]
    # 0.9 * |0.1 - 20 / 900| + 0.1 * |0.9 - 0.8|
    assert calibration_error(bins) == pytest.approx(0.09 - 0.02 + 0.01)
    empty = dict(count=[0], positives=[0], mean_score=[None])
    assert calibration_error(empty) is None
    content = make_task(('EX', ), 2)
    # tp 100, fp 21, fn 20, tn 2000 of both images
    point = operating_point(content, 'EX')
    expected = [21 / 2021, 100 / 121, 100 / 120]
    assert [point[key] for key in sorted(point)] == pytest.approx(expected)
    assert np.isnan(operating_point(content, 'HE')['recall'])
