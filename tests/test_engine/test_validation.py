"""Validation during training: on which images, and what it keeps."""
import logging
import math
import types
from pathlib import Path

import numpy as np
import pytest
from mmseg.datasets import build_dataset
from PIL import Image
from torch.utils.data import DataLoader

from mbos.apis import load_config
from mbos.engine.evaluation_hook import SafeEvalHook
from mbos.engine.rehearsal import (check_validation, validated_test_images,
                                   warn_of_useless_labels)
from tests.test_reliability.runs import best_of, val_lines, write_long_config
from tests.tiny_runs import SIZE, TWO, config_of, write_config, write_data

PUBLISHED = 'configs/_multi_gan_/gan_bdice_vessel_lesion_OD_idrid_ddr_refuge' \
    '_semi_OD_0.1_0.05_60k_128_group_window_size16{}.py'
NO_SETS = types.SimpleNamespace(datasets=[])


@pytest.fixture
def log():
    """Keeps warnings."""
    lines = []
    return types.SimpleNamespace(lines=lines, warning=lines.append)


def test_validation_photographs_may_be_scored_by_name():
    """In test_sets of the light configs, beside official tests."""
    cfg = load_config('configs/light/light_stage1.py')
    assert 'idrid_vessel_val' in cfg.test_sets
    assert validated_test_images(cfg) == {}
    cfg.test_sets.first = dict(cfg.test_sets.idrid_vessel_val)
    both = ['first']
    assert validated_test_images(cfg) == dict(idrid=both, idrid_vessel=both)


def test_as_released_does_and_says_so(log):
    cfg = load_config(PUBLISHED.format(''))
    assert cfg.evaluation.save_best == 'mDice'
    check_validation(cfg, NO_SETS, log)
    assert log.lines == []
    cfg = load_config(PUBLISHED.format('_as_released'))
    found = validated_test_images(cfg)
    assert found == {n: [n] for n in ('drive', 'stare', 'ddr', 'refuge')}
    check_validation(cfg, NO_SETS, log)
    line, = log.lines
    assert 'VALIDATION ON TEST IMAGES: drive (test set drive)' in line
    cfg.evaluation.save_best = 'mDice'
    with pytest.raises(ValueError, match='must not be chosen on them'):
        check_validation(cfg, NO_SETS, log)


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
    cfg['data'].update(val=[sets['val']], test='c0')
    cfg = load_config(write_config(tmp_path / 'a.py', cfg))
    assert bool(validated_test_images(cfg)) == shared


def test_best_by_any_metric_that_there_is(runs, log):
    """Each that an evaluation gives, and no other."""
    cfg = load_config(runs.config1)
    cfg.test_sets, cfg.data.test = {}, None
    val_set = build_dataset(cfg.data.val, dict(test_mode=True))
    labels = {
        task.name: np.zeros((task.num_classes, SIZE, SIZE), np.float32)
        for task in val_set.datasets[0].tasks
    }
    figures = val_set.evaluate([
        dataset.pre_eval([labels], [i])[0] for dataset in val_set.datasets
        for i in range(len(dataset))
    ])
    assert len(figures) > 6
    for name in (*figures, None, 'auto'):
        cfg.evaluation.save_best = name
        check_validation(cfg, val_set, log)
    for name, meant in (('mDcie', 'mDice'), ('c0_test.vessel.Dice.vesel',
                                             'c0_test.vessel.Dice.vessel')):
        cfg.evaluation.save_best = name
        with pytest.raises(ValueError, match=f'{name}.*use.* {meant}'):
            check_validation(cfg, val_set, log)


def test_undefined_scores_are_never_the_best(tmp_path, tool):
    """A network that calls nothing, masks that hold nothing."""
    write_data(tmp_path / 'data', TWO)
    for path in (tmp_path / 'data').glob('c*/*/*.png'):
        Image.fromarray(np.zeros((64, 64), np.uint8)).save(path)
    config = write_long_config(
        tmp_path / 'empty.py', tmp_path / 'data', optimizer__lr=0.05,
        lr_config__warmup=None, runner__max_iters=12,
        evaluation=dict(interval=12, save_best='auto'))  # yapf: disable
    assert tool('train.py', config, '--work-dir', 'w') is None
    assert math.isnan(val_lines(tmp_path / 'w')[-1]['mDice'])
    assert best_of(tmp_path / 'w') == []


def save_best(folder, messages, **scores):
    """Evaluate the iterations ``i2``, ``i4``, ... of a run; return what its
    checkpoints say of the best."""

    def write(out_dir, filename_tmpl, create_symlink):
        (Path(out_dir) / filename_tmpl).write_text('new')

    runner = types.SimpleNamespace(
        meta=dict(hook_msgs=messages), work_dir=str(folder),
        logger=logging.getLogger('best'), evaluation_pending=False,
        save_checkpoint=write)  # yapf: disable
    hook = SafeEvalHook(
        DataLoader(NO_SETS), signals=None, save_best='mDice', rule='greater')
    hook.before_run(runner)
    for name, score in scores.items():
        runner.iter = int(name[1:]) - 1
        hook._save_ckpt(runner, score)
    return runner.meta['hook_msgs']


def test_best_of_another_run_is_kept(tmp_path):
    """Also by a run that began anew in its folder and was resumed."""
    other = tmp_path / 'best_mDice_iter_40.pth'
    other.write_text('old')
    messages = save_best(tmp_path, {}, i2=0.1, i4=0.2, i6=0.15)
    assert best_of(tmp_path) == ['best_mDice_iter_4.pth', other.name]
    # the same evaluation again, then a better one
    save_best(tmp_path, messages, i4=0.3, i8=0.4)
    assert best_of(tmp_path) == [other.name, 'best_mDice_iter_8.pth']
    assert other.read_text() == 'old'
    (tmp_path / 'x').mkdir()  # resumed in another folder
    save_best(tmp_path / 'x', messages, i10=0.5)
    assert best_of(tmp_path) == [other.name, 'best_mDice_iter_8.pth']
    assert best_of(tmp_path / 'x') == ['best_mDice_iter_10.pth']


def test_labels_that_no_loss_reads_are_named(tmp_path, log):
    """Pseudo labels in stage 1, and classes that no dataset labels."""
    cfg = config_of(tmp_path, TWO)
    warn_of_useless_labels(
        load_config(write_config(tmp_path / 'a.py', cfg)), log)
    assert log.lines == []
    cfg['data']['train']['datasets'][1].update(
        pseudo_dirs=dict(vessel='x'),
        ann_dirs=dict(lesion=dict(path='c1/lesion', classes=['EX'])))
    warn_of_useless_labels(
        load_config(write_config(tmp_path / 'b.py', cfg)), log)
    classes, pseudo = log.lines
    assert "labels HE, SE, MA of task 'lesion'" in classes
    assert 'pseudo_dirs of c1 are for stage 2' in pseudo
