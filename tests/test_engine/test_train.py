"""Both stages, end to end, on pictures of 64 pixels."""
import datetime
import json
import os

import pytest
import torch
from mmcv.runner import HOOKS, Hook
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import \
    EventAccumulator

from mbos.apis import load_model
from mbos.checkpoints.loading import read_checkpoint
from tests.tiny_runs import FOVEA, TWO, config_of, write_config, write_data


def records(work, mode):
    """Lines of the JSON log of one mode."""
    path, = work.glob('*.log.json')
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return [line for line in lines if line.get('mode') == mode]


def terms_of(home, adversarial):
    """Names of all losses and accuracies; ``home`` is the dataset that labels
    each task."""
    own, others = ['loss_truth'], []
    if adversarial:
        own += ['loss_disc_source', 'disc_acc_source', 'disc_acc_target']
        others = ['loss_pseudo', 'loss_adv', 'loss_disc_target']
    names = [f'{name}.{task}' for name in own for task in home]
    names += [
        f'{name}.{task}.on_{home[other]}' for name in others for task in home
        for other in home if other != task
    ]
    return {f'{head}.{name}' for head in ('decode', 'aux') for name in names}


def terms_in(record):
    return {k for k in record if k.startswith(('decode.', 'aux.'))}


def tensorboard_tags(work):
    events = EventAccumulator(str(work / 'tf_logs'), {'images': 0})
    events.Reload()
    return events.Tags()


def test_logs_of_stage_1(runs):
    assert {'iter_2.pth', 'iter_4.pth', 'latest.pth',
            'stage1.py'} <= set(os.listdir(runs.work1))
    log, = runs.work1.glob('*.log')
    text = log.read_text()
    for wanted in ('PyTorch:', 'MMCV: 1.7', 'MBOS: ', 'seed 0', 'Config:',
                   'Dataset c0: 3 images', 'Data checked in', 'eta: ',
                   'data_time: ', 'loss_truth: '):
        assert wanted in text, wanted
    train = records(runs.work1, 'train')
    assert [line['iter'] for line in train] == [2, 4]
    for line in train:
        names = terms_of(dict(vessel='c0', lesion='c1'), False)
        assert terms_in(line) == names
        total = sum(line[name] for name in names)
        assert line['loss'] == pytest.approx(total, abs=1e-4)
        assert {'time', 'data_time', 'lr'} <= set(line)
    # linear decay to 0 at iteration 4; the rate of the iteration logged
    assert [line['lr'] for line in train] == pytest.approx([7.5e-4, 2.5e-4])


def test_logs_of_stage_2(runs):
    expected = terms_of(dict(vessel='c0', lesion='c1'), True)
    for line in records(runs.work2, 'train'):
        assert terms_in(line) == expected
        total = sum(v for k, v in line.items() if '.loss_' in k)
        assert line['loss'] == pytest.approx(total, abs=1e-3)
        assert all(0 <= line[name] <= 1 for name in expected
                   if 'disc_acc' in name)
        assert set(line['lr']) == {
            'generator', 'discriminators', 'auxiliary_discriminators'
        }
    tags = tensorboard_tags(runs.work2)['scalars']
    assert {f'train/{name}' for name in expected | {'loss'}} <= set(tags)
    assert any(tag.startswith('learning_rate') for tag in tags)


def test_metrics_and_overlays_at_evaluation(runs):
    line, = records(runs.work1, 'val')
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


def test_checkpoint_says_what_it_is(runs):
    one, two = map(read_checkpoint, (runs.checkpoint1, runs.checkpoint2))
    assert one['meta']['mbos_stage'] == 'multi_task'
    assert two['meta']['mbos_stage'] == 'adversarial'
    for meta in (one['meta'], two['meta']):
        assert meta['iter'] == 4 and meta['seed'] == 0
        assert [t['name'] for t in meta['mbos_tasks']] == list(TWO)
        assert meta['mbos_model']['tasks'] == list(TWO)
        assert 'CheckedIterRunner' in meta['config']
    assert set(one['optimizer']) == {'generator'}
    assert set(two['optimizer']) == {
        'generator', 'discriminators', 'auxiliary_discriminators'
    }
    assert set(one['state_dict']) < set(two['state_dict'])


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
    """One task is the user's own, and each dataset gives two images."""
    tasks = (FOVEA, 'odoc', 'lesion', 'vessel')
    write_data(tmp_path / 'data', tasks)
    config = write_config(
        tmp_path / 'four.py',
        config_of(
            tmp_path / 'data',
            tasks,
            adversarial,
            runner__max_iters=1,
            evaluation__interval=1,
            log_config__interval=1,
            data__samples_per_gpu=2))
    assert tool('train.py', config, '--seed', 3) is None
    work = tmp_path / 'work_dirs' / 'four'
    names = ('fovea', 'odoc', 'lesion', 'vessel')
    line, = records(work, 'train')
    assert terms_in(line) == terms_of(
        {
            name: f'c{i}'
            for i, name in enumerate(names)
        }, adversarial)
    evaluated, = records(work, 'val')
    assert 'c0_test.fovea.Dice.fovea' in evaluated
    folder = 'ckpt' if adversarial else '.'
    meta = read_checkpoint(str(work / folder / 'iter_1.pth'))['meta']
    assert [t['name'] for t in meta['mbos_tasks']
            ] == ['vessel', 'lesion', 'odoc', 'fovea']
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


@HOOKS.register_module()
class NotingHook(Hook):
    """Adds a buffer to the network and notes what no checkpoint can hold."""

    def before_run(self, runner):
        runner.model.module.register_buffer('seen_images', torch.zeros(1))

    def after_train_iter(self, runner):
        runner.meta['began'] = datetime.date(2026, 1, 2)

    def resume_state(self, runner):
        return dict(runner=type(runner))


def test_hooks_of_ones_own_do_not_spoil_checkpoints(runs, tool, tmp_path):
    """They serve prediction, and resuming with the hook and without."""
    hooks = [dict(type='NotingHook'), dict(type='EMAWeightsHook')]
    config = write_config(tmp_path / 'a.py',
                          config_of(runs.data, TWO, custom_hooks=hooks))
    arguments = ('train.py', config, '--no-validate', '--work-dir')
    assert tool(*arguments, 'w') is None
    assert read_checkpoint('w/iter_4.pth')['meta']['began'] == '2026-01-02'
    load_model('w/iter_4.pth', device='cpu')
    for work, options in (('x', ()), ('y', ('custom_hooks=[]', ))):
        assert tool(*arguments, work, '--resume-from', 'w/iter_2.pth',
                    '--cfg-options', 'runner.max_iters=4', *options) is None
