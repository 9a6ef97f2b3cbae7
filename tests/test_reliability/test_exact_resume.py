"""A run that is stopped and resumed is the run that was not."""
import shutil

import pytest

from mbos.checkpoints.loading import read_checkpoint
from tests.test_reliability.runs import (assert_same_checkpoint, best_of,
                                         folder_of, train_lines, val_lines)

slow = pytest.mark.slow


@pytest.mark.parametrize('stage, iteration, workers', [
    (1, 2, 0),
    (1, 4, 0),
    pytest.param(1, 6, 0, marks=slow),
    (2, 2, 2),
    pytest.param(2, 4, 0, marks=slow),
    pytest.param(2, 6, 0, marks=slow),
])
def test_resumed_anywhere(long_runs, tool, tmp_path, stage, iteration,
                          workers):
    """Within warm-up, off the log lines, at an evaluation, near the end, with
    another number of workers: from the newest checkpoint that is whole."""
    run = long_runs[stage]
    folder = folder_of(tmp_path / 'w', stage == 2)
    folder.mkdir(parents=True)
    newest = folder / f'iter_{iteration}.pth'
    shutil.copy(run.checkpoints / newest.name, folder)
    broken = folder / f'iter_{iteration + 1}.pth'
    broken.write_bytes(newest.read_bytes()[:-1000])
    (folder / 'iter_8.pth.999999999.tmp').write_bytes(b'half')
    # load_from is for the first start only
    assert tool('train.py', run.config, '--work-dir', 'w', '--auto-resume',
                '--load-from', 'gone.pth', '--cfg-options',
                f'data.workers_per_gpu={workers}') is None
    log, = (tmp_path / 'w').glob('*.log')
    text = log.read_text()
    assert f'Passed over: {broken.relative_to(tmp_path)} is not a' in text
    assert f'Going on from {newest.relative_to(tmp_path)}.' in text
    assert not list(folder.glob('*.tmp'))
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
        read_checkpoint(str(path))['meta']['hook_msgs']['best_score']
        for path in (run.work / name, run.checkpoints / 'iter_8.pth'))
    logged = max(line['mDice'] for line in val_lines(run.work))
    assert best == last == pytest.approx(logged, abs=1e-4)
    assert not (run.work / '.evaluation').exists()
