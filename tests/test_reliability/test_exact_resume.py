"""A run that is stopped and resumed is the run that was not."""
import shutil

import pytest

from mbos.checkpoints.loading import read_checkpoint
from tests.test_reliability.runs import (assert_same_checkpoint, best_of,
                                         train_lines, val_lines)


def resume(tool, run, stage, iteration, *arguments):
    """Go on from a copy of one checkpoint, in an own work directory."""
    again = run.work.parent / f'again{stage}'
    shutil.rmtree(again, ignore_errors=True)
    folder = again / 'ckpt' if stage == 2 else again
    folder.mkdir(parents=True)
    shutil.copy(run.checkpoints / f'iter_{iteration}.pth', folder)
    done = tool('train.py', run.config, '--work-dir', again, '--auto-resume',
                *arguments)
    assert done is None
    return again, folder


@pytest.mark.parametrize('stage, iteration', [
    (1, 2),
    (1, 4),
    pytest.param(1, 6, marks=pytest.mark.slow),
    (2, 2),
    pytest.param(2, 4, marks=pytest.mark.slow),
    pytest.param(2, 6, marks=pytest.mark.slow),
])
def test_resumed_anywhere(long_runs, tool, stage, iteration):
    """Within warm-up, off the log lines, at an evaluation, near the end."""
    run = long_runs[stage]
    again, folder = resume(tool, run, stage, iteration)
    assert_same_checkpoint(run.checkpoints / 'iter_8.pth',
                           folder / 'iter_8.pth')
    before, after = train_lines(run.work), train_lines(again)
    assert set(before) == {3, 6}
    assert set(after) == {i for i in (3, 6) if i > iteration}
    for key, line in after.items():
        assert line == before[key]
    assert val_lines(again) == val_lines(run.work)[-len(val_lines(again)):]


def test_another_number_of_workers(long_runs, tool):
    run = long_runs[2]
    again, folder = resume(tool, run, 2, 2, '--cfg-options',
                           'data.workers_per_gpu=2')
    assert_same_checkpoint(run.checkpoints / 'iter_8.pth',
                           folder / 'iter_8.pth')
    assert train_lines(again) == train_lines(run.work)


def test_sums_since_the_last_line_are_kept(long_runs):
    content = read_checkpoint(str(long_runs[1].checkpoints / 'iter_4.pth'))
    state = content['progress']['hooks']['LossLogHook']
    assert state['count'] == 1 and len(state['rows']) == 1
    assert 'loss' in state['names'] and (state['rows'] > 0).any()


def test_gradients_since_the_last_step_are_kept(long_runs):
    """Stage 2 steps after iterations 3, 6 and 8."""
    kept = {}
    for iteration in (2, 4, 6, 8):
        path = long_runs[2].checkpoints / f'iter_{iteration}.pth'
        state = read_checkpoint(str(path))['progress']['hooks']
        kept[iteration] = state['GradientStepHook'].get('gathered', 0)
    assert kept == {2: 2, 4: 1, 6: 0, 8: 0}


def test_best_is_kept(long_runs):
    run = long_runs[1]
    name, = best_of(run.work)
    best, last = (
        read_checkpoint(str(path))
        for path in (run.work / name, run.checkpoints / 'iter_8.pth'))
    score = last['meta']['hook_msgs']['best_score']
    assert best['meta']['hook_msgs']['best_score'] == score > 0
    assert last['progress']['evaluation_pending'] is False
