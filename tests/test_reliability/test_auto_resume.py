"""--auto-resume: the newest whole checkpoint, and only of the same run."""
import os
import shutil

import pytest
import torch

from mbos.checkpoints.loading import read_checkpoint
from mbos.engine.resume import compare, read_run
from tests.test_reliability.runs import (folder_of, train_lines, val_lines,
                                         write_long_config)


def log_of(work):
    return ''.join(path.read_text() for path in sorted(work.glob('*.log')))


@pytest.fixture
def begun(long_runs, tmp_path):
    """Function that makes a run with checkpoints of iterations 2, 4 and 6 in
    the work directory ``w``."""

    def make(stage=1):
        run = long_runs[stage]
        folder = folder_of(tmp_path / 'w', stage == 2)
        folder.mkdir(parents=True)
        for iteration in (2, 4, 6):
            shutil.copy(run.checkpoints / f'iter_{iteration}.pth', folder)
        return run, folder

    return make


@pytest.fixture
def resumed(begun, tool):
    """Function that goes on from iteration 6 in ``x``, with changes of the
    config."""

    def run(*options, stage=1):
        run, folder = begun(stage)
        return tool('train.py', run.config, '--work-dir', 'x', '--no-validate',
                    '--resume-from', folder / 'iter_6.pth', '--cfg-options',
                    *options)

    return run


@pytest.mark.parametrize('how', ['cut', 'flipped', 'empty', 'text', 'bare'])
def test_what_cannot_be_continued_is_seen(long_runs, tmp_path, how):
    """After a full disk, a bad disk or a bad copy, and weights alone."""
    good, path = long_runs[1].checkpoints / 'iter_4.pth', tmp_path / 'a.pth'
    content = read_run(str(good))
    assert content['meta']['iter'] == 4
    torch.save(dict(state_dict=content['state_dict']), path)
    whole = good.read_bytes()
    half = len(whole) // 2
    damaged = dict(
        cut=whole[:half],
        flipped=whole[:half] + bytes([whole[half] ^ 1]) + whole[half + 1:],
        empty=b'',
        text=b'<html>not found</html>',
        bare=path.read_bytes())
    path.write_bytes(damaged[how])
    with pytest.raises(ValueError, match=str(path)):
        read_run(str(path))


def test_without_any_it_starts_anew(long_runs, tool, tmp_path):
    arguments = ('train.py', long_runs[1].config, '--work-dir', 'w',
                 '--cfg-options', 'runner.max_iters=1')
    assert tool(*arguments, '--auto-resume') is None
    assert 'Nothing to resume in w' in log_of(tmp_path / 'w')
    assert 'earlier run' not in log_of(tmp_path / 'w')
    assert tool(*arguments) is None
    assert 'iter_1.pth is of an earlier run' in log_of(tmp_path / 'w')


def test_a_finished_run_says_so(long_runs, tool, tmp_path, caplog):
    run = long_runs[1]
    last = shutil.copytree(run.work, tmp_path / 'w') / 'iter_8.pth'
    assert tool('train.py', run.config, '--work-dir', 'w',
                '--auto-resume') is None
    assert 'nothing is left to train' in caplog.text
    assert last.read_bytes() == (run.work / 'iter_8.pth').read_bytes()


def test_another_run_is_refused(begun, tool, tmp_path):
    """Whatever decides how weights come out."""
    run, folder = begun()
    data = shutil.copytree(run.data, tmp_path / 'data')
    for path in data.glob('c1/*/eye_2.*'):
        path.unlink()
    for options, said in (
        (('runner.max_iters=9', 'optimizer.lr=0.5', 'seed=3'),
         ('runner.max_iters was 8, is 9', 'optimizer.lr was 0.001, is',
          'seed was 0, is 3', '--resume-from w/iter_6.pth')),
        (('lr_config.power=2.0', 'data.samples_per_gpu=2',
          'optimizer_config.grad_clip.max_norm=1'),
         ('lr_config.power was 1.0', 'data.samples_per_gpu was 1, is 2',
          'optimizer_config.grad_clip')),
        ((f'data_root={data}', f'data.train.datasets.0.data_root={data}',
          f'data.train.datasets.1.data_root={data}'),
         ('images.1_c1.number was 3, is 2', ))):  # yapf: disable
        done = tool('train.py', run.config, '--work-dir', 'w', '--auto-resume',
                    '--cfg-options', *options)
        for words in said:
            assert words in done
    assert not (folder / 'iter_8.pth').exists()
    assert 'contradict' in tool('train.py', run.config, '--work-dir', 'w',
                                '--auto-resume', '--resume-from',
                                folder / 'iter_2.pth')


def test_what_does_not_matter_may_change(begun, tool, tmp_path):
    """Data in another place, intervals, workers, evaluation."""
    run, folder = begun()
    data = shutil.copytree(run.data, tmp_path / 'moved')
    config = write_long_config(
        tmp_path / 'b.py',
        data,
        checkpoint_config__interval=1,
        log_config__interval=1,
        data__workers_per_gpu=1)
    assert tool('train.py', config, '--work-dir', 'w', '--auto-resume',
                '--no-validate') is None
    first, second = (
        read_checkpoint(str(f / 'iter_8.pth'))['state_dict']
        for f in (run.checkpoints, folder))
    assert all(torch.equal(v, second[k]) for k, v in first.items())


def settings_in(path, name='generator'):
    """The different values of each setting of an optimizer's groups."""
    groups = read_checkpoint(str(path))['optimizer'][name]['param_groups']
    keys = ('lr', 'initial_lr', 'betas', 'weight_decay')
    return {key: {g.get(key) for g in groups} for key in keys}


def test_changed_settings_are_in_force(resumed, tmp_path):
    """Of a checkpoint that the user names, all that the config says, of each
    optimizer that it names."""
    assert resumed(
        'optimizer.discriminators.lr=0.5',
        'optimizer.generator.weight_decay=0.25',
        'optimizer.generator.paramwise_cfg.custom_keys.norm.lr_mult=3.0',
        'optimizer.auxiliary_discriminators.betas=(0.5,0.75)',
        'lr_config.power=0.0',
        'runner.max_iters=7',
        'log_config.interval=1',
        stage=2) is None
    log = log_of(tmp_path / 'x')
    assert "The config's are in force" in log
    assert 'lr_config.power was 1.0, is 0.0' in log
    assert 'optimizer.discriminators.lr was' in log
    line, = train_lines(tmp_path / 'x').values()
    assert line['lr']['discriminators'] == 0.5
    generator, judges, others = (
        settings_in('x/ckpt/iter_7.pth', name)
        for name in ('generator', 'discriminators',
                     'auxiliary_discriminators'))
    assert generator == dict(
        lr={0.001, 0.003}, initial_lr={0.001, 0.003}, betas={(0.9, 0.999)},
        weight_decay={0.0, 0.25})  # yapf: disable
    assert judges['lr'] == judges['initial_lr'] == {0.5}
    assert others['betas'] == {(0.5, 0.75)}


def test_schedules_come_and_go(begun, tool, tmp_path):
    run, folder = begun()
    cyclic = tmp_path / 'cyclic.py'
    cyclic.write_text(
        f"_base_ = '{run.config}'\nmomentum_config = dict(policy='cyclic', "
        'target_ratio=(0.5, 1), by_epoch=False)\n')
    assert tool('train.py', cyclic, '--no-validate', '--work-dir', 'x',
                '--resume-from', folder / 'iter_6.pth', '--cfg-options',
                'runner.max_iters=7', 'optimizer.lr=0.002') is None
    assert settings_in(tmp_path / 'x/iter_7.pth')['betas'] != {(0.9, 0.999)}
    assert 'momentum_config.policy was None' in log_of(tmp_path / 'x')
    assert tool('train.py', run.config, '--no-validate', '--work-dir', 'y',
                '--resume-from', 'x/iter_7.pth') is None
    found = settings_in(tmp_path / 'y/iter_8.pth')
    assert found['betas'] == {(0.9, 0.999)}
    assert found['initial_lr'] == {0.001}
    done = tool('train.py', run.config, '--work-dir', 'x', '--auto-resume')
    assert 'momentum_config.policy was' in done and '--resume-from' in done


@pytest.mark.parametrize('options, said', [
    (['optimizer.type=SGD'], "optimizer.type was 'AdamW', is 'SGD'"),
    (['optimizer.paramwise_cfg=None'], 'paramwise_cfg'),
    (['optimizer.amsgrad=True'], 'amsgrad'),
])
def test_changes_that_cannot_be_in_force_are_refused(resumed, options, said):
    done = resumed(*options)
    assert said in done and '--load-from' in done
    assert not os.path.exists('x')


def test_best_score_of_another_metric_is_forgotten(begun, tool, tmp_path):
    run, folder = begun()
    before = read_checkpoint(str(folder / 'iter_6.pth'))['meta']['hook_msgs']
    assert before['best_of']['metric'] == 'mDice'
    assert tool('train.py', run.config, '--work-dir', 'x', '--resume-from',
                folder / 'iter_6.pth', '--cfg-options',
                'evaluation.save_best=mIoU', 'evaluation.interval=8') is None
    assert 'begins anew' in log_of(tmp_path / 'x')
    messages = read_checkpoint('x/iter_8.pth')['meta']['hook_msgs']
    assert messages['best_of']['metric'] == 'mIoU'
    assert messages['best_score'] == pytest.approx(
        val_lines(tmp_path / 'x')[-1]['mIoU'], abs=1e-4)


def test_compare_by_hand():
    before = dict(a=1, b=dict(c=[1, dict(d=2)], e=3), g=[1, 2])
    now = dict(a=1, b=dict(c=[1, dict(d=4)]), f=None, g=[1, 2, 3])
    assert compare(before, now) == {
        'b.c.1.d': 'b.c.1.d was 2, is 4',
        'b.e': 'b.e was 3, is None',
        'g.2': 'g.2 was None, is 3'
    }
