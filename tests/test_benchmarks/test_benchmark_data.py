"""The tool that measures data loading, on photographs of a tenth the size."""
import json
import time

import pytest
import torch
from mmcv.parallel import DataContainer

from benchmarks import data

SMALL = ('--samples', '3', '--rounds', '2', '--workers', '1', '--height',
         '720', '--images', '1', '--images-per-step', '2', '--step-seconds',
         '0.1')


def test_all_ways_are_measured(monkeypatch, capsys):
    monkeypatch.delenv('MBOS_REAL_DATA', raising=False)
    assert data.main([*SMALL, '--json']) == 0
    report = json.loads(capsys.readouterr().out)
    assert list(report['cases']) == ['full', 'default']
    for name, kinds in report['cases'].items():
        assert list(kinds) == ['labelled', 'strong']
        for ways in kinds.values():
            assert list(ways) == list(data.WAYS)
            for way, case in ways.items():
                names = list(case['transforms'])
                assert names[0] == ('LoadImageFromFile'
                                    if way == 'plain' else 'LoadRandomCrop')
                assert names[-1] == 'FormatPlanes'
                # medians of parts do not add up to the median of the sum
                assert sum(case['transforms'].values()) == pytest.approx(
                    case['seconds'], rel=0.5)
            assert ways['cache']['first_seconds'] > 0
        for way, rate in report['rates'][name].items():
            assert rate == pytest.approx(2 / sum(ways[way]['seconds']
                                                 for ways in kinds.values()))
    assert report['ratio'] == pytest.approx(report['rates']['full']['cache'] /
                                            report['rates']['full']['plain'])
    assert list(report['loader']) == list(data.WAYS)
    for found in report['loader'].values():
        assert found['1']['images_per_second'] > 0
        assert 0 <= found['1']['waited'] < 60
    for ratio in (2.9, 3.0):
        monkeypatch.setattr(data, 'run', lambda _: dict(report, ratio=ratio))
        assert data.main(['--check']) == (ratio < 3)
    out = capsys.readouterr().out
    assert "| full, labelled: milliseconds |" in out
    assert "| ColorJitter |" in out
    assert '2.9 times' in out and '| cache | 1 |' in out


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


def test_missing_folder(capsys):
    assert data.main(['--raw', 'nowhere']) == 2
    assert 'nowhere: not found' in capsys.readouterr().err
