"""Signals, and numbers that are not finite, end a run with a checkpoint, from
which it goes on as if nothing had been."""
import os
import signal
from pathlib import Path

import pytest
import torch
from mmcv.runner import HOOKS, Hook

from mbos.checkpoints.loading import read_checkpoint
from mbos.datasets import PartialLabelDataset
from mbos.runtime.signals import SIGNALS, Interrupted, StopSignals
from tests.test_reliability.runs import (assert_same_checkpoint, folder_of,
                                         log_lines, write_long_config)

slow = pytest.mark.slow


@pytest.fixture(autouse=True)
def default_signals():
    """Signals as in a plain terminal: nohup has SIGHUP ignored."""
    defaults = {number: signal.SIG_DFL for number in SIGNALS}
    defaults[signal.SIGINT] = signal.default_int_handler
    before = {n: signal.signal(n, handler) for n, handler in defaults.items()}
    yield defaults
    for number, handler in before.items():
        signal.signal(number, handler)


@HOOKS.register_module()
class DisturbHook(Hook):
    """Sends signals to its own process while an iteration runs, or puts a NaN
    into its first image."""

    def __init__(self, iteration, numbers):
        self.iteration, self.numbers = iteration, numbers

    def before_train_iter(self, runner):
        if runner.iter + 1 != self.iteration:
            return
        for number in self.numbers:
            os.kill(os.getpid(), number)
        if not self.numbers:
            runner.data_batch['img'].data[0][0, 0, 0, 0] = float('nan')


@pytest.fixture
def train(long_runs, tool, tmp_path):
    """Function that trains a run of ``long_runs`` and disturbs it."""

    def run(stage, iteration, *numbers):
        changes = dict(long_runs[stage].changes)
        hook = dict(type='DisturbHook', iteration=iteration, numbers=numbers)
        changes['custom_hooks'] = [*changes.get('custom_hooks', []), hook]
        config = write_long_config(tmp_path / 'a.py', long_runs[stage].data,
                                   stage == 2, **changes)
        return tool('train.py', config, '--work-dir', 'w')

    return run


def goes_on(tool, run, folder):
    """Resumed, the run is the one that was not interrupted."""
    assert tool('train.py', run.config, '--work-dir', 'w',
                '--auto-resume') is None
    assert_same_checkpoint(run.checkpoints / 'iter_8.pth',
                           folder / 'iter_8.pth')
    assert log_lines('w') == log_lines(run.work)


@pytest.mark.parametrize('stage, names, came, iteration', [
    (1, ['SIGTERM'], 6, 6),
    pytest.param(1, ['SIGUSR1'], 5, 5, marks=slow),
    pytest.param(2, ['SIGINT'], 1, 2, marks=slow),
    (2, ['SIGHUP', 'SIGTERM', 'SIGTERM'], 5, 6),
])
def test_saves_and_goes_on(long_runs, train, tool, default_signals, stage,
                           names, came, iteration):
    """Where a checkpoint is due or not, but after a step of the optimizers,
    every second iteration in stage 2; launchers may send more signals."""
    numbers = [int(signal.Signals[name]) for name in names]
    assert train(stage, came, *numbers) == 75
    assert signal.getsignal(numbers[0]) == default_signals[numbers[0]]
    log = next(Path('w').glob('*.log')).read_text()
    assert log.count(f'Saving checkpoint at {iteration}') == 1
    assert f'Interrupted ({names[0]}) after iteration {iteration} of 8' in log
    folder = folder_of('w', stage == 2)
    path = folder / f'iter_{iteration}.pth'
    assert read_checkpoint(str(path))['meta']['iter'] == iteration
    assert os.readlink(folder / 'latest.pth') == path.name
    goes_on(tool, long_runs[stage], folder)


@pytest.mark.parametrize('interval', [pytest.param(2, marks=slow), 3])
def test_during_an_evaluation(long_runs, tool, tmp_path, monkeypatch,
                              interval):
    """It is left at once, and made up for at the next start."""
    run = long_runs[1]
    config = write_long_config(
        tmp_path / 'a.py', run.data, checkpoint_config__interval=interval)
    scored, seen = PartialLabelDataset.pre_eval, []

    def interrupt(self, preds, indices):
        seen.append(indices)
        if len(seen) == 2:  # the first was the rehearsal's
            os.kill(os.getpid(), signal.SIGTERM)
        return scored(self, preds, indices)

    with monkeypatch.context() as patch:
        patch.setattr(PartialLabelDataset, 'pre_eval', interrupt)
        assert tool('train.py', config, '--work-dir', 'w') == 75
    content = read_checkpoint('w/iter_4.pth')
    assert content['meta']['iter'] == 4
    assert content['progress']['evaluation_pending'] is True
    goes_on(tool, run, tmp_path / 'w')


def test_second_ctrl_c_aborts_at_once(train):
    assert train(1, 3, 2, 2) == 130
    assert not os.path.exists('w/iter_3.pth')
    assert os.path.exists('w/iter_2.pth')


def test_a_nan_ends_the_run_and_the_last_checkpoint_is_good(long_runs, train):
    said = train(2, 5)
    assert said.startswith('Error: Not finite in iteration 5: the loss aux.')
    assert 'decode.loss_truth.vessel' in said
    for folder in ('c0', 'c1'):  # one image of each dataset
        assert f'{long_runs[2].data}/{folder}/images/eye_' in said
    assert os.readlink('w/ckpt/latest.pth') == 'iter_4.pth'
    state = read_checkpoint('w/ckpt/iter_4.pth')['state_dict']
    assert all(torch.isfinite(v).all() for v in state.values())


def test_before_training_nothing_is_left(long_runs, tool, tmp_path,
                                         monkeypatch):
    monkeypatch.setattr('mbos.engine.train.check_data',
                        lambda *_, **__: os.kill(os.getpid(), signal.SIGTERM))
    assert tool('train.py', long_runs[1].config, '--work-dir', 'w') == 75
    assert not (tmp_path / 'w').exists()


def test_ignored_deferred_and_at_once(capfd):
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with StopSignals() as signals:
        os.kill(os.getpid(), signal.SIGHUP)
        with signals.deferred():
            os.kill(os.getpid(), signal.SIGTERM)
            assert signals.received == signal.SIGTERM
            with pytest.raises(Interrupted), signals.at_once():
                raise AssertionError('not entered')
    assert 'SIGTERM: saving a checkpoint' in capfd.readouterr().err
    with StopSignals(), pytest.raises(Interrupted):
        os.kill(os.getpid(), signal.SIGUSR1)
