"""The page of an evaluation, from made-up files, and in a browser."""
import re

import pytest

from mbos.pictures.report_page import (Example, Section, choose_examples,
                                       render_report)
from tests.browser import REFERENCES, ask_page, external_references
from tests.evaluations import make_evaluation, make_row, make_task

NASTY = '<script>alert("1")</script>'


@pytest.fixture
def page(tmp_path):
    """A page of two test sets, with and without what is optional."""
    lesion = make_task(dice=[0.5, None, 0.1, 0.9], images=4)
    found = dict(value=0.1234, low=0.1, high=0.15)
    lesion['comparable']['AP'] = dict(
        EX=found, HE=dict.fromkeys(found), mean=found)
    lesion['comparable']['Dice@0.5-fov'] = dict(EX=dict(found, value=0.4321))
    lesion['thresholds']['val'] = dict(EX=0.25, HE=0.75)
    lesion['chosen_on'] = dict(sets=['ddr_val'], Dice=dict(EX=0.5, HE=0.5))
    one = make_evaluation(NASTY, lesion=lesion)
    vessel = make_task(('vessel', ))
    del vessel['curves'], vessel['calibration']
    two = make_evaluation('drive', vessel=vessel)
    example = Example('eye_2', 'a.jpg', 'b.jpg', 'c.jpg')
    path, colours = tmp_path / 'report.html', {'EX': 'rgb(1, 2, 3)'}
    sections = [Section(one, 'lesion', colours, [example], csv='eval.csv'),
                Section(two, 'vessel')]  # yapf: disable
    path.write_text(render_report(sections, 'Of <i>this</i>'))
    return path


def test_figures_are_those_of_the_file(page):
    text = page.read_text()
    for words in ('0.1234', '0.100 – 0.150', '0.4321', 'Published definitions',
                  'Inside the field of view', 'Comparable with other work',
                  'EX 0.2500, HE 0.7500', 'chosen on ddr_val',
                  'href="eval.csv"', 'Research software, not a medical'):
        assert words in text, words
    assert 'At the threshold chosen' not in text
    # an undefined value is a dash, one that is not there an empty cell
    assert re.search(r'<th scope="row">AP</th><td>0.1234 [^\n]*<td>–</td>',
                     text.replace('\n', ''))
    assert '<script>alert' not in text and '<i>this' not in text
    assert not external_references(text)


def test_page_in_a_browser(page):
    table = 'section:nth-of-type(2) table.sortable'
    click = f"document.querySelectorAll('{table} button')"
    column = f'''[...document.querySelectorAll('{table} tbody tr')].map(
        (row) => [...row.children].slice(0, 2).map((c) => c.textContent))'''
    seen = ask_page(
        page,
        f'''{{first, second, third: {column}, refs: {REFERENCES},
            wide: document.documentElement.scrollWidth,
            jump: document.getElementById(decodeURIComponent(
                document.querySelector('#overview a').hash.slice(1))).id,
            charts: document.querySelectorAll('div[role=img]').length}}''',
        actions=f'''const first = {column}; {click}[0].click();
            const second = {column}; {click}[1].click(); {click}[1].click()''',
        width=500)
    ranked = [['eye_2', '0.1000'], ['eye_0', '0.5000'], ['eye_3', '0.9000']]
    undefined = [['eye_1', '–']]
    assert seen['first'] == ranked + undefined
    assert seen['second'] == sorted(ranked + undefined)
    assert seen['third'] == ranked[::-1] + undefined
    assert {url.split(':')[0] for url in seen['refs']} == {'file', 'data'}
    assert seen['jump'] == f'{NASTY}.lesion'
    assert seen['charts'] == 4 + 1 and seen['wide'] <= 500


@pytest.mark.parametrize('count, worst, best', [
    (2, ['eye_2', 'eye_0'], ['eye_4', 'eye_3']),
    (3, ['eye_2', 'eye_0', 'eye_3'], ['eye_4']),
    (9, ['eye_2', 'eye_0', 'eye_3', 'eye_4'], []),
    (0, [], []),
])
def test_examples(count, worst, best):
    dice = [0.5, None, 0.1, 0.6, 0.9]
    rows = [make_row(i, ('EX', 'HE'), dice) for i in range(5)]
    assert choose_examples(rows, count) == (worst, best)
