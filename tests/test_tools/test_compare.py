"""tools/compare.py and what it prints."""
import json

import pytest

from mbos.evaluation.paired_comparison import compare_evaluations
from tests.evaluations import make_evaluation, make_task


@pytest.fixture
def compare(tool, capfd):
    """Function that runs the tool; returns its exit and its output."""
    return lambda *given: (tool('compare.py', *given), capfd.readouterr().out)


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return str(path)


def compared(first, second):
    """The rows of two evaluations of the same tasks."""
    sides = [{'ddr': make_evaluation(**tasks)} for tasks in (first, second)]
    rows = compare_evaluations(*sides)['rows']
    return {(r['task'], r['class'], r['metric']): r for r in rows}


def test_a_constant_shift(compare, tmp_path):
    a = write(tmp_path / 'a.json', make_evaluation())
    b = write(
        tmp_path / 'b.json',
        make_evaluation(checkpoint='b.pth', lesion=make_task(shift=0.05)))
    code, out = compare(a, b, '--json', 'out.json')
    assert code is None and 'a.pth' in out and 'b.pth' in out
    # mean of 0.30, 0.32, ... 0.52 is 0.41
    assert '| 0.4100 | 0.4600 | +0.0500 | +0.0500 to +0.0500 | 0.0005 |' in out
    for row in json.loads((tmp_path / 'out.json').read_text())['rows']:
        if row['metric'] == 'Dice@0.5':  # the counts are the same
            assert row['p_value'] == 1
        else:
            assert row['difference'] == pytest.approx(0.05)
            assert row['p_value'] == 2 / 2**12, '12 images'
            # 9 such rows and 3 of p = 1
            assert row['p_holm'] == pytest.approx(12 * 2 / 2**12)
            assert row['better'] == 'second'
    code, out = compare(a, a, '--json')
    rows = json.loads(out)['rows']
    # 2 classes and their mean; Dice per image and pooled, AP, AUC
    assert len(rows) == 3 * 4
    for row in rows:
        assert row['difference'] == row['low'] == row['high'] == 0
        assert row['p_value'] == row['p_holm'] == 1
        assert row['better'] is None and row['images'] == 12


def test_pooled_dice_by_hand():
    first, second = (dict(lesion=make_task(('EX', ), 2)) for _ in range(2))
    for row, (tp, fp, fn) in zip(second['lesion']['per_image'],
                                 [(60, 0, 0), (20, 20, 40)]):
        row['counts']['0.5']['EX'] = dict(tp=tp, fp=fp, fn=fn, tn=1000)
    row = compared(first, second)['lesion', 'EX', 'Dice@0.5']
    # 2 * 100 / (2 * 100 + 21 + 20) and 2 * 80 / (2 * 80 + 20 + 40)
    assert row['first'] == pytest.approx(200 / 241)
    assert row['second'] == pytest.approx(160 / 220)
    # the first image alone, then the second one alone
    assert row['high'] == pytest.approx(1 - 100 / 120)
    assert row['low'] == pytest.approx(40 / 100 - 100 / 121)


def test_smaller_errors_are_better():
    first, second = (
        dict(odoc=make_task(('disc', 'cup'), nested=True)) for _ in range(2))
    for row in second['odoc']['per_image']:
        row['Ratio-error']['cup'] = 0.05
    row = compared(first, second)['odoc', 'cup', 'Ratio-error']
    assert row['difference'] == pytest.approx(-0.05)
    assert row['better'] == 'second'


def test_finding_nothing_where_nothing_is():
    """An image in which only one model finds the class counts."""
    rows = compared(*(dict(
        lesion=make_task(('EX', ), 4, dice=[found, None, 0.5, 0.7]))
                      for found in (None, 0.0)))
    row = rows['lesion', 'EX', 'Dice-image']
    assert row['images'] == 3
    assert row['first'] == pytest.approx((1 + 0.5 + 0.7) / 3)
    assert row['second'] == pytest.approx((0 + 0.5 + 0.7) / 3)
    assert rows['lesion', 'EX', 'AP-image']['images'] == 2


def test_means_over_classes_are_over_the_same_classes():
    """A model is not spared a class because only the other one finds it."""
    first, second = (dict(lesion=make_task(images=2)) for _ in range(2))
    for tasks, found, mean in ((first, None, 0.4), (second, 0.0, 0.2)):
        tasks['lesion']['per_image'][0]['Dice'] = dict(
            EX=0.4, HE=found, mean=mean)
    row = compared(first, second)['lesion', 'mean', 'Dice-image']
    # of the first image (0.4 + 1) / 2 and (0.4 + 0) / 2; 0.32 of the other
    assert row['first'] == pytest.approx((0.7 + 0.32) / 2)
    assert row['second'] == pytest.approx((0.2 + 0.32) / 2)


def test_folders_images_of_only_one_and_undefined_values(compare, tmp_path):
    nothing = make_task(dice=[None] * 12)  # as of masks that are all empty
    for row in nothing['per_image']:
        for count in row['counts']['0.5'].values():
            count.update(tp=0, fp=0, fn=0)
    few = dict(lesion=make_task(images=5))
    sets = [('a', 'ddr', {}), ('a', 'idrid', {}), ('b', 'drive', {}),
            ('b', 'ddr', few), ('c', 'ddr', dict(lesion=nothing))]
    for folder, name, tasks in sets:
        write(tmp_path / folder / f'eval_{name}.json',
              make_evaluation(name, **tasks))
    code, out = compare('a', 'b')
    assert code is None
    for words in ('Note: Only one of the two has drive, idrid.',
                  '7 images that only one', '5 images are few'):
        assert words in out
    code, out = compare('c', 'c')
    assert code is None and 'all 0 rows that have one' in out
    assert out.count('| lesion |') == 3 * 4 and '| nan to nan |' in out


@pytest.mark.parametrize('other, words', [
    (make_evaluation('drive'), 'no test set in common'),
    (make_evaluation(vessel=make_task()), 'no task of ddr in common'),
    (make_evaluation(lesion=make_task(('HE', 'EX'))), 'classes is'),
    (dict(make_evaluation(), format=1), 'b.json: not an'),
])
def test_what_cannot_be_compared(compare, tmp_path, other, words):
    a = write(tmp_path / 'a.json', make_evaluation())
    assert words in compare(a, write(tmp_path / 'b.json', other))[0]
    assert 'Dice-image' in compare(a, a, '--metrics', 'nonsense')[0]
    assert compare(a, a, '--resamples', '5')[0] == 2
