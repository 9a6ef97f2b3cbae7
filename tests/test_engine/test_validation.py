"""Validation during training: on which images, and what it keeps."""
import os

import numpy as np
import pytest
from mmcv.utils import get_logger
from mmseg.datasets import build_dataset

from mbos.apis import load_config
from mbos.datasets import EvaluationSets
from mbos.engine.validation import (check_save_best, validated_test_images,
                                    warn_of_test_images,
                                    warn_of_unread_pseudo_labels)
from tests.tiny_runs import SIZE, TEST, config_of, member, write_config

PUBLISHED = 'configs/_multi_gan_/gan_bdice_vessel_lesion_OD_idrid_ddr_refuge' \
    '_semi_OD_0.1_0.05_60k_128_group_window_size16{}.py'
TWO = ('vessel', 'lesion')
BEST = dict(interval=2, pre_eval=True, save_best='mDice', rule='greater')


class Log:
    """Keeps warnings."""

    def __init__(self):
        self.lines = []

    def warning(self, text, *values):
        self.lines.append(text % values)


def test_published_configs_do_not_validate_on_test_images():
    cfg = load_config(PUBLISHED.format(''))
    assert validated_test_images(cfg) == {}
    assert cfg.evaluation.save_best == 'mDice'
    log = Log()
    warn_of_test_images(cfg, log)
    assert log.lines == []


@pytest.mark.parametrize('name', ['stage1', 'stage2', 'healthy'])
def test_validation_photographs_may_be_scored_by_name(name):
    """In test_sets of the light configs, beside official tests."""
    cfg = load_config(f'configs/light/light_{name}.py')
    assert 'idrid_vessel_val' in cfg.test_sets
    assert validated_test_images(cfg) == {}
    official = dict(cfg.test_sets.idrid_vessel_val)
    cfg.test_sets.first, cfg.test_sets.second = official, cfg.test_sets.idrid
    assert validated_test_images(cfg) == {
        val: ['first']
        for val in ('idrid', 'idrid_vessel')
    }


def test_as_released_does_and_says_so():
    cfg = load_config(PUBLISHED.format('_as_released'))
    found = validated_test_images(cfg)
    assert found == {n: [n] for n in ('drive', 'stare', 'ddr', 'refuge')}
    log = Log()
    warn_of_test_images(cfg, log)
    line, = log.lines
    assert 'VALIDATION ON TEST IMAGES: drive (test set drive)' in line
    cfg.evaluation.save_best = 'mDice'
    with pytest.raises(ValueError, match='must not be chosen on them'):
        warn_of_test_images(cfg, log)


@pytest.mark.parametrize('val, test, shared', [
    ('a\nb\n', 'c\r\nd\r\n', False),
    ('a\nb\n', 'b\r\n', True),
    ('a\n', None, True),
    (None, 'a\n', True),
])
def test_splits_of_one_folder(tmp_path, val, test, shared):
    """No split is the whole folder, the other set's images included."""
    cfg = config_of(tmp_path, TWO)
    sets = dict(val=dict(cfg['test_sets']['c0']), test=cfg['test_sets']['c0'])
    for (name, dataset), text in zip(sets.items(), (val, test)):
        if text is not None:
            (tmp_path / f'{name}.txt').write_bytes(text.encode())
            dataset['split'] = f'{name}.txt'
    cfg['data']['val'] = [sets['val']]
    cfg['data']['test'] = 'c0'
    cfg = load_config(write_config(tmp_path / 'a.py', cfg))
    assert bool(validated_test_images(cfg)) == shared


def test_one_validation_set_is_as_good_as_several(tmp_path):
    cfg = config_of(tmp_path, TWO)
    cfg['data']['val'] = cfg['data']['val'][0]
    cfg = load_config(write_config(tmp_path / 'a.py', cfg))
    assert cfg.data.val.type == EvaluationSets.__name__
    assert [d.name for d in cfg.data.val.datasets] == ['c0_test']


def test_training_saves_the_best_mean_over_tasks(runs, tool, tmp_path):
    cfg = config_of(runs.data, TWO, evaluation=BEST, custom_hooks=[])
    cfg['data']['val'] = [
        member(i, f'c{i}', TEST, ann_dirs={t: f'c{i}/{t}'})
        for i, t in enumerate(TWO)
    ]
    config = write_config(tmp_path / 'best.py', cfg)
    assert tool('train.py', config, '--work-dir', 'w') is None
    best, = (tmp_path / 'w').glob('best_mDice_iter_*.pth')
    log, = (tmp_path / 'w').glob('*.log')
    text = log.read_text()
    assert 'VALIDATION ON TEST IMAGES' not in text
    assert best.stat().st_size > 1000
    assert 'c1.lesion.Dice.EX: ' in text and '\tmDice: ' in text
    assert not (tmp_path / 'w/.evaluation').exists()


def test_training_refuses_to_choose_on_test_images(runs, tool, tmp_path):
    config = write_config(tmp_path / 'a.py',
                          config_of(runs.data, TWO, evaluation=BEST))
    text = tool('train.py', config, '--work-dir', 'w')
    assert 'data.val has test images: c0_test' in text
    assert not os.path.exists(tmp_path / 'w')


def test_logger_is_one_of_logging(runs):
    """What the run's own logger is asked to do, it can."""
    warn_of_test_images(load_config(runs.config1), get_logger('validation'))


def test_best_by_any_figure_that_there_is(runs):
    """Each that an evaluation gives, and no other."""
    cfg = load_config(runs.config1)
    val_set = build_dataset(cfg.data.val, dict(test_mode=True))
    labels = [{
        task.name: np.zeros((task.num_classes, SIZE, SIZE), np.float32)
        for task in val_set.datasets[0].tasks
    }] * len(val_set)
    results = [
        dataset.pre_eval([labels[0]], [i])[0] for dataset in val_set.datasets
        for i in range(len(dataset))
    ]
    figures = val_set.evaluate(results)
    assert len(figures) > 6
    for name in (*figures, None, 'auto'):
        cfg.evaluation.save_best = name
        check_save_best(cfg)
    for name, meant in (('mDcie', 'mDice'), ('c0_test.vessel.Dice.vesel',
                                             'c0_test.vessel.Dice.vessel')):
        cfg.evaluation.save_best = name
        with pytest.raises(ValueError, match=f'{name}.*use.* {meant}'):
            check_save_best(cfg)


def test_mistyped_figure_is_refused_before_training(runs, tool, tmp_path):
    message = tool('train.py', runs.config1, '--cfg-options',
                   'evaluation.save_best=mDcie')
    assert "'mDcie', which data.val does not give: use mDice" in message
    assert not (tmp_path / 'work_dirs').exists()


def test_stage_1_tells_of_pseudo_labels_that_it_does_not_read(tmp_path):
    cfg = config_of(tmp_path, TWO)
    log = Log()
    warn_of_unread_pseudo_labels(
        load_config(write_config(tmp_path / 'a.py', cfg)), log)
    assert log.lines == []
    cfg['data']['train']['datasets'][1]['pseudo_dirs'] = dict(vessel='x')
    warn_of_unread_pseudo_labels(
        load_config(write_config(tmp_path / 'b.py', cfg)), log)
    line, = log.lines
    assert 'pseudo_dirs of c1 are not read by any loss' in line
    adversarial = config_of(tmp_path, TWO, True)
    log = Log()
    warn_of_unread_pseudo_labels(
        load_config(write_config(tmp_path / 'c.py', adversarial)), log)
    assert log.lines == []
