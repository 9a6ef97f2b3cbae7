"""A run that is stopped and resumed is the run that was not."""
import shutil

import pytest

from mbos.checkpoints.loading import read_checkpoint
from tests.test_reliability.runs import (assert_same_checkpoint, best_of,
                                         folder_of, train_lines, val_lines)


@pytest.mark.parametrize('stage, iteration, workers', [
    (1, 2, 0),
    (1, 4, 0),
    pytest.param(1, 6, 0, marks=pytest.mark.slow),
    (2, 2, 2),
    pytest.param(2, 4, 0, marks=pytest.mark.slow),
    pytest.param(2, 6, 0, marks=pytest.mark.slow),
])
def test_resumed_anywhere(long_runs, tool, tmp_path, stage, iteration,
                          workers):
    """Within warm-up, off the log lines, at an evaluation, near the end, with
    another number of workers."""
    run = long_runs[stage]
    folder = folder_of(tmp_path / 'w', stage == 2)
    folder.mkdir(parents=True)
    shutil.copy(run.checkpoints / f'iter_{iteration}.pth', folder)
    assert tool('train.py', run.config, '--work-dir', 'w', '--auto-resume',
                '--cfg-options', f'data.workers_per_gpu={workers}') is None
    assert_same_checkpoint(run.checkpoints / 'iter_8.pth',
                           folder / 'iter_8.pth')
    before, after = train_lines(run.work), train_lines('w')
    assert set(before) == {3, 6}
    assert after == {i: line for i, line in before.items() if i > iteration}
    found = val_lines('w')
    assert found == val_lines(run.work)[-len(found):]


def test_best_is_kept(long_runs):
    run = long_runs[1]
    name, = best_of(run.work)
    best, last = (
        read_checkpoint(str(path))
        for path in (run.work / name, run.checkpoints / 'iter_8.pth'))
    score = last['meta']['hook_msgs']['best_score']
    assert best['meta']['hook_msgs']['best_score'] == score > 0
    assert last['progress']['evaluation_pending'] is False
    log, = run.work.glob('*.log')
    text = log.read_text()
    assert 'VALIDATION ON TEST IMAGES' not in text
    assert 'c1_test.lesion.Dice.EX: ' in text and '\tmDice: ' in text
    assert not (run.work / '.evaluation').exists()
