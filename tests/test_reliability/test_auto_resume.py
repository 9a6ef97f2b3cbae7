"""--auto-resume: the newest whole checkpoint, and only of the same run."""
import os
import shutil

import pytest
import torch

from mbos.checkpoints.loading import read_checkpoint
from mbos.engine.resume import read_run
from tests.test_reliability.runs import (assert_same_content, train_lines,
                                         val_lines, write_long_config)


def log_of(work):
    return ''.join(path.read_text() for path in sorted(work.glob('*.log')))


@pytest.fixture
def go_on(long_runs, tool, tmp_path):
    """Function that goes on, with changes, from iteration 6 of a run in
    ``w``: automatically there, or in ``x`` from the named checkpoint."""

    def run(*options, stage=1, auto=False, config=None):
        found = long_runs[stage]
        folder = tmp_path / ('w/ckpt' if stage == 2 else 'w')
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(found.checkpoints / 'iter_6.pth', folder)
        how = ('w', '--auto-resume') if auto else ('x', '--resume-from',
                                                   folder / 'iter_6.pth')
        return tool('train.py', config or found.config, '--work-dir', *how,
                    '--cfg-options', *options)

    return run


def test_weights_alone_cannot_be_continued(tmp_path):
    """Damaged files: tests/test_io/test_weights_file.py."""
    torch.save(dict(state_dict={}), tmp_path / 'a.pth')
    with pytest.raises(ValueError, match='a.pth holds weights only'):
        read_run(str(tmp_path / 'a.pth'))


def test_without_any_it_starts_anew(long_runs, tool, tmp_path):
    arguments = ('train.py', long_runs[1].config, '--work-dir', 'w',
                 '--cfg-options', 'runner.max_iters=1')
    assert tool(*arguments, '--auto-resume') is None
    assert 'Nothing to resume in w' in log_of(tmp_path / 'w')
    assert 'earlier run' not in log_of(tmp_path / 'w')
    assert tool(*arguments) is None
    assert 'iter_1.pth is of an earlier run' in log_of(tmp_path / 'w')
    before = (tmp_path / 'w/iter_1.pth').read_bytes()
    assert tool(*arguments, '--auto-resume') is None
    assert 'nothing is left to train' in log_of(tmp_path / 'w')
    assert (tmp_path / 'w/iter_1.pth').read_bytes() == before


def test_another_run_is_refused(long_runs, go_on, tool, tmp_path):
    """Whatever decides how weights come out."""
    data = shutil.copytree(long_runs[1].data, tmp_path / 'data')
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
        done = go_on(*options, auto=True)
        for words in said:
            assert words in done
    assert not (tmp_path / 'w/iter_8.pth').exists()
    assert 'contradict' in tool('train.py', long_runs[1].config, '--work-dir',
                                'w', '--auto-resume', '--resume-from', 'a.pth')


def test_what_does_not_matter_may_change(long_runs, go_on, tmp_path):
    """Data in another place, intervals, workers, evaluation."""
    data = shutil.copytree(long_runs[1].data, tmp_path / 'moved')
    config = write_long_config(
        tmp_path / 'b.py', data, checkpoint_config__interval=1,
        log_config__interval=1, evaluation__interval=8)  # yapf: disable
    assert go_on('data.workers_per_gpu=1', auto=True, config=config) is None
    first, second = (
        read_checkpoint(str(folder / 'iter_8.pth'))['state_dict']
        for folder in (long_runs[1].checkpoints, tmp_path / 'w'))
    assert_same_content(first, second)


def test_changed_settings_are_in_force(go_on, tmp_path):
    """Of a checkpoint that the user names, all that the config says, of each
    optimizer that it names."""
    assert go_on(
        'optimizer.discriminators.lr=0.5', 'lr_config.power=0.0',
        'optimizer.generator.weight_decay=0.25', 'runner.max_iters=7',
        'optimizer.generator.paramwise_cfg.custom_keys.norm.lr_mult=3.0',
        'optimizer.auxiliary_discriminators.betas=(0.5,0.75)',
        'log_config.interval=1', stage=2) is None  # yapf: disable
    log = log_of(tmp_path / 'x')
    assert "The config's are in force" in log
    assert 'lr_config.power was 1.0, is 0.0' in log
    assert 'optimizer.discriminators.lr was' in log
    line, = train_lines(tmp_path / 'x').values()
    assert line['lr']['discriminators'] == 0.5
    optimizers = read_checkpoint('x/ckpt/iter_7.pth')['optimizer']

    def used(name, key):
        return {group[key] for group in optimizers[name]['param_groups']}

    for key in ('lr', 'initial_lr'):
        assert used('generator', key) == {0.001, 0.003}
        assert used('discriminators', key) == {0.5}
    assert used('generator', 'weight_decay') == {0.0, 0.25}
    assert used('auxiliary_discriminators', 'betas') == {(0.5, 0.75)}


@pytest.mark.parametrize('options, said', [
    (['optimizer.type=SGD'], "optimizer.type was 'AdamW', is 'SGD'"),
    (['optimizer.paramwise_cfg=None'], 'paramwise_cfg'),
    (['optimizer.amsgrad=True'], 'amsgrad'),
])
def test_changes_that_cannot_be_in_force_are_refused(go_on, options, said):
    done = go_on(*options)
    assert said in done and '--load-from' in done
    assert not os.path.exists('x')


def test_best_score_of_another_metric_is_forgotten(go_on, tmp_path):
    assert go_on('evaluation.save_best=mIoU', 'evaluation.interval=8') is None
    assert 'begins anew' in log_of(tmp_path / 'x')
    messages = read_checkpoint('x/iter_8.pth')['meta']['hook_msgs']
    assert messages['best_of']['metric'] == 'mIoU'
    assert messages['best_score'] == pytest.approx(
        val_lines(tmp_path / 'x')[-1]['mIoU'], abs=1e-4)
