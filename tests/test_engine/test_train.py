"""Both stages, end to end, on pictures of 64 pixels."""
import os

import numpy as np
import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import \
    EventAccumulator

from mbos.checkpoints.loading import read_checkpoint
from mbos.io.labels import read_labels, save_labels
from tests.tiny_runs import (FOVEA, TWO, config_of, read_log, write_config,
                             write_data)


def check_terms(line, tasks, adversarial):
    """Each task has a home, and in stage 2 terms on that of each other; the
    losses add up."""
    own, others = (4, 3 * (tasks - 1)) if adversarial else (1, 0)
    names = [k for k in line if k.startswith(('decode.', 'aux.'))]
    assert len(names) == 2 * tasks * (own + others)
    total = sum(line[name] for name in names if '.loss_' in name)
    assert line['loss'] == pytest.approx(total, abs=1e-3)
    assert all(0 <= line[n] <= 1 for n in names if '.disc_acc_' in n)


def tensorboard_tags(work):
    return EventAccumulator(str(work / 'tf_logs')).Reload().Tags()


def test_logs_of_stage_1(runs):
    log, = runs.work1.glob('*.log')
    text = log.read_text()
    for wanted in ('PyTorch:', 'MBOS: ', 'seed 0', 'Config:', 'loss_truth: ',
                   'Dataset c0: 3 images'):
        assert wanted in text, wanted
    assert (runs.work1 / 'stage1.py').exists()
    train = read_log(runs.work1, 'train')
    assert [line['iter'] for line in train] == [2, 4]
    for line in train:
        check_terms(line, 2, False)
    # linear decay to 0 at iteration 4; the rate of the iteration logged
    assert [line['lr'] for line in train] == pytest.approx([7.5e-4, 2.5e-4])


def test_logs_of_stage_2(runs):
    for line in read_log(runs.work2, 'train'):
        check_terms(line, 2, True)
        assert 'decode.loss_adv.vessel.on_c1' in line
        assert 'aux.loss_pseudo.lesion.on_c0' in line
    tags = tensorboard_tags(runs.work2)['scalars']
    assert {f'train/{name}' for name in line if '.' in name} <= set(tags)


def test_metrics_and_overlays_at_evaluation(runs):
    line, = read_log(runs.work1, 'val')
    for name in ('c0_test.vessel.mDice', 'c1_test.lesion.Dice.EX', 'mDice'):
        assert 0 <= line[name] <= 1
    tags = tensorboard_tags(runs.work1)
    assert 'val/c0_test.vessel.mDice' in tags['scalars']
    folder = runs.work1 / 'overlays' / 'iter_4'
    expected = [f'c{i}_test_eye_{j}' for i in (0, 1) for j in (0, 1)]
    assert sorted(os.listdir(folder)) == [f'{n}.jpg' for n in expected]
    # photograph, prediction, truth
    assert Image.open(folder / f'{expected[0]}.jpg').size == (3 * 64, 64)
    assert sorted(tags['images']) == [f'overlays/{n}' for n in expected]


def test_stage_2_starts_from_stage_1(runs, tool, tmp_path):
    """Without a step, the generator is stage 1's; discriminators are new."""
    assert tool('train.py', runs.config2, '--no-validate', '--load-from',
                runs.checkpoint1, '--work-dir', 'w', '--cfg-options',
                'optimizer.generator.lr=0.0', 'runner.max_iters=1',
                'optimizer.generator.weight_decay=0.0') is None
    one = read_checkpoint(runs.checkpoint1)['state_dict']
    two = read_checkpoint('w/ckpt/iter_1.pth')['state_dict']
    for name, value in one.items():
        assert torch.equal(value, two[name]), name
    assert not os.path.exists('w/overlays'), 'no evaluation'


@pytest.mark.parametrize('adversarial', [False, True])
def test_four_tasks_and_two_images(tool, tmp_path, adversarial):
    """One task is the user's own, each dataset gives two images, and of one
    task only some classes are labelled."""
    tasks = (FOVEA, 'odoc', 'lesion', 'vessel')
    write_data(tmp_path / 'data', tasks)
    cfg = config_of(
        tmp_path / 'data', tasks, adversarial, runner__max_iters=1,
        evaluation__interval=1, log_config__interval=1,
        data__samples_per_gpu=2)  # yapf: disable
    for entry in cfg['data']['train']['datasets'][2], cfg['test_sets']['c2']:
        path = entry['ann_dirs']['lesion']
        entry['ann_dirs']['lesion'] = dict(path=path, classes=['EX'])
        for mask in (tmp_path / 'data' / path).iterdir():
            save_labels(str(mask), np.uint8(read_labels(str(mask)) == 1))
    config = write_config(tmp_path / 'four.py', cfg)
    assert tool('train.py', config, '--seed', 3) is None
    work = tmp_path / 'work_dirs' / 'four'
    names = ('fovea', 'odoc', 'lesion', 'vessel')
    line, = read_log(work, 'train')
    check_terms(line, 4, adversarial)
    evaluated, = read_log(work, 'val')
    assert 'c0_test.fovea.Dice.fovea' in evaluated
    assert 'c2_test.lesion.Dice.EX' in evaluated
    assert 'c2_test.lesion.Dice.HE' not in evaluated
    folder = 'ckpt' if adversarial else '.'
    meta = read_checkpoint(str(work / folder / 'iter_1.pth'))['meta']
    assert {t['name'] for t in meta['mbos_tasks']} == set(names)
    assert meta['seed'] == 3


def test_all_that_is_missing_is_said_at_once(runs, tool, tmp_path):
    """Weights, training images, validation images."""
    cfg = config_of(runs.data, TWO, model__pretrained='no_swin.pth')
    for member in (*cfg['data']['train']['datasets'], *cfg['data']['val']):
        member['img_dir'] = member['img_dir'].replace('images', 'gone')
    said = tool('train.py', write_config(tmp_path / 'a.py', cfg), '--work-dir',
                'w')
    for missing in ('no_swin.pth', 'c0/gone', 'c1/gone', 'c0_test/gone',
                    'c1_test/gone', '--no-validate'):
        assert missing in said, said
    assert not (tmp_path / 'w').exists()


@pytest.mark.parametrize('key', ['checkpoint_config', 'evaluation'])
def test_checkpoints_come_after_whole_steps(runs, tool, tmp_path, key):
    assert f'{key}.interval is 3' in tool('train.py', runs.config1,
                                          '--work-dir', 'w', '--cfg-options',
                                          'optimizer_config.accumulate=2',
                                          f'{key}.interval=3')
    assert not (tmp_path / 'w').exists()
