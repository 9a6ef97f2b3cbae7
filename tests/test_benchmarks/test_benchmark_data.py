"""The tool that measures data loading, on photographs of a tenth the size."""
import json
import os
import time

import pytest
import torch
from mmcv.parallel import DataContainer

from benchmarks import data
from benchmarks import report as reports

WAYS = ['plain', 'region', 'reduced', 'cache']


@pytest.fixture(scope='module')
def report():
    saved = os.environ.pop('MBOS_REAL_DATA', None)
    found = data.run(
        samples=3,
        rounds=2,
        workers=[1],
        height=720,
        images=1,
        images_per_step=2,
        step_seconds=0.1)
    if saved:
        os.environ['MBOS_REAL_DATA'] = saved
    return found


def test_all_ways_are_measured(report):
    assert list(report['cases']) == ['full', 'default']
    for kinds in report['cases'].values():
        assert list(kinds) == ['labelled', 'strong']
        for ways in kinds.values():
            assert list(ways) == WAYS
            for way, case in ways.items():
                assert case['seconds'] > 0 and case['labels_equal']
                assert case['images_per_second'] == 1 / case['seconds']
                assert case['ratio'] == pytest.approx(
                    ways['plain']['seconds'] / case['seconds'])
                names = list(case['transforms'])
                assert names[0] == ('LoadImageFromFile'
                                    if way == 'plain' else 'LoadRandomCrop')
                assert names[-1] == 'FormatPlanes'
                # medians of parts do not add up to the median of the sum
                assert sum(case['transforms'].values()) == pytest.approx(
                    case['seconds'], rel=0.5)
            assert ways['plain']['max_grey_difference'] == 0
            assert 0 < ways['region']['max_grey_difference'] <= 1
            assert 0 < ways['cache']['max_grey_difference'] <= 1
            assert ways['cache']['first_seconds'] > 0
    assert list(report['loader']) == WAYS
    for found in report['loader'].values():
        assert found['1']['images_per_second'] > 0
        assert 0 <= found['1']['waited'] < 60


def test_summary_by_hand(report):
    cases = report['cases']['full']
    plain, ours = (
        (cases['labelled'][way]['seconds'] + cases['strong'][way]['seconds']) /
        2 for way in ('plain', 'cache'))
    assert report['plain']['seconds'] == pytest.approx(plain)
    assert report['cached']['seconds'] == pytest.approx(ours)
    assert report['cached']['images_per_second'] == pytest.approx(1 / ours)
    assert report['ratio'] == pytest.approx(plain / ours)
    assert report['supply']['needed'] == pytest.approx(20)
    assert report['supply']['by_four_workers']['full'][
        'plain'] == pytest.approx(4 / plain)


class Slow:
    """Stands for a joint dataset of two members: an item takes 0.2 s."""

    datasets = (None, None)

    def set_seed(self, seed):
        self.seed = seed

    def __getitem__(self, index):
        time.sleep(0.2)
        empty = DataContainer(torch.zeros(1))
        return dict(img=empty, labels=empty, img_metas=empty)


def test_waiting_is_what_a_step_does_not_hide():
    # without a worker nothing is loaded beside the step
    alone = data.measure_loader(Slow(), 0, steps=3, step_seconds=0.3)
    assert 0.2 <= alone['waited'] < 0.6
    assert 3 < alone['images_per_second'] <= 10
    beside = data.measure_loader(Slow(), 1, steps=3, step_seconds=0.5)
    assert beside['waited'] < 0.15


def test_json_and_table(report, monkeypatch, capsys):
    monkeypatch.setattr(data, 'run', lambda **_: dict(report, ratio=2.9))
    assert data.main(['--json']) == 0
    assert json.loads(capsys.readouterr().out)['ratio'] == 2.9
    assert data.main(['--check']) == 1
    out, err = capsys.readouterr()
    assert 'MISSED: 2.90' in err
    assert '| full, labelled |' in out and '| ColorJitter |' in out
    assert 'needs 20 images/s' in out and '2.9 times (goal: 3)' in out
    monkeypatch.setattr(data, 'run', lambda **_: dict(report, ratio=3.0))
    assert data.main(['--check', '--json']) == 0


def test_missing_folder(capsys):
    with pytest.raises(SystemExit):
        data.main(['--raw', 'nowhere'])
    assert 'nowhere: not found' in capsys.readouterr().err


def test_goal_in_the_table_of_all_goals(report):
    goal, = reports.judge(dict(data=dict(report, ratio=2.9)))
    assert goal['name'].startswith('data loading') and not goal['reached']
    assert reports.judge(dict(data=dict(report, ratio=3.1)))[0]['reached']
    settings = dict(
        size=256,
        inference_size=1024,
        device='cpu',
        threads=1,
        precision='float32',
        steps=1)
    text = reports.as_text(
        dict(settings=settings, cases=dict(data=report), goals=[goal]))
    assert '| full, labelled |' in text and 'MISSED' in text
