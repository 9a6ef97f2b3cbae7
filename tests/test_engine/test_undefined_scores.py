"""Validation where no score is defined: no foreground anywhere."""
import math
import types

import numpy as np
import pytest
from mmcv.runner import LogBuffer
from mmcv.utils import get_logger
from PIL import Image

from mbos.engine.evaluation_hook import SafeEvalHook
from tests.test_reliability.runs import best_of, val_lines, write_long_config
from tests.tiny_runs import write_data


class Scores:
    """A validation set that gives fixed scores."""

    name = 'own'

    def __init__(self, **scores):
        self.scores = scores

    def evaluate(self, results, logger=None, **kwargs):
        return self.scores


def evaluated(save_best, saved, **scores):
    """What the hook makes of an evaluation; names of best files in saved."""
    from torch.utils.data import DataLoader
    loader = DataLoader([0])
    object.__setattr__(loader, 'dataset', Scores(**scores))
    hook = SafeEvalHook(
        loader,
        interval=1,
        by_epoch=False,
        save_best=save_best,
        rule='greater')
    hook.out_dir = '.'
    runner = types.SimpleNamespace(
        model=None,
        iter=0,
        meta={},
        log_buffer=LogBuffer(),
        logger=get_logger('test'),
        save_checkpoint=lambda *_, filename_tmpl, **__: saved.append(
            filename_tmpl))
    score = hook.evaluate(runner, [])
    if score is not None:
        hook._save_ckpt(runner, score)
    return runner


@pytest.mark.parametrize('value, expected', [(0.5, ['best_a_iter_1.pth']),
                                             (math.nan, [])])
def test_undefined_is_never_the_best(value, expected):
    saved = []
    runner = evaluated('a', saved, a=value)
    assert saved == expected
    assert np.isnan(runner.log_buffer.output['a']) == math.isnan(value)


def test_a_score_that_a_set_does_not_give_keeps_the_run(caplog):
    saved = []
    evaluated('b', saved, a=0.5)
    assert saved == [] and "'b', which the validation sets" in caplog.text


def test_a_run_without_foreground_in_its_validation_masks(
        tmp_path, tool, caplog):
    """A network that calls nothing, masks that hold nothing."""
    write_data(tmp_path / 'data', ('vessel', 'lesion'))
    for path in (tmp_path / 'data').glob('c*/*/*.png'):
        Image.fromarray(np.zeros((64, 64), np.uint8)).save(path)
    config = write_long_config(
        tmp_path / 'empty.py',
        tmp_path / 'data',
        optimizer__lr=0.05,
        lr_config__warmup=None,
        runner__max_iters=12,
        evaluation=dict(interval=12, save_best='auto'))
    assert tool('train.py', config, '--work-dir', 'w') is None
    assert 'mDice of iteration 12 is undefined' in caplog.text
    last = val_lines(tmp_path / 'w')[-1]
    assert math.isnan(last['mDice']) and math.isnan(last['mIoU'])
    assert best_of(tmp_path / 'w') == []
