"""A process that dies ends the run, with its reason, whatever others do."""
import re
import time

import pytest

from tests.tiny_runs import config_of, run_script, write_config

TWO = ('vessel', 'lesion')
PARTS = dict(imports=['mbos', 'tests.run_parts'], allow_failed_imports=False)
SECONDS = 60
REASONS = dict(
    exception='failed: RuntimeError: the fault of this process\n'
    'Its traceback is above',
    kill='was killed by SIGKILL',
    exit='left with status 3',
    exit_well='left by sys.exit before the run was over',
    exit_hard='No process reported an error')
STATUS = dict(exception=1, kill=137, exit=3, exit_well=1, exit_hard=1)


def fails(done, how, rank):
    """Check how a run ended; returns the seconds after the fault."""
    shown = done.stdout + done.stderr
    found = re.search(r'fails at ([\d.]+)', done.stdout)
    assert found, shown[-3000:]
    seconds = time.time() - float(found[1])
    assert seconds < SECONDS
    assert done.returncode == STATUS[how], shown[-3000:]
    end = '\n'.join(done.stderr.rstrip().splitlines()[-2:])
    assert re.search(REASONS[how], end), end[-3000:]
    if how in ('exception', 'kill', 'exit'):
        assert f'Process {rank} (pid ' in end
    if how == 'exception':
        assert re.search(r'Traceback.*_raise\n.*RuntimeError: the fault',
                         shown, re.DOTALL)
    print(f'{how} of process {rank}: ended after {seconds:.1f} s')
    return seconds


def die_in_training(runs, tmp_path, how, rank, processes):
    cfg = config_of(runs.data, TWO)
    cfg['custom_imports'] = PARTS
    cfg['custom_hooks'] = [dict(type='FailingHook', how=how, rank=rank)]
    done = run_script(
        'dist_train_multi_task.sh',
        write_config(tmp_path / 'a.py', cfg),
        processes,
        folder=tmp_path)
    fails(done, how, rank)


def die_in_dataset(runs, tmp_path, how, rank, where, processes=2, **changes):
    """In the first validation set."""
    cfg = config_of(runs.data, TWO, **changes)
    cfg['custom_imports'] = PARTS
    cfg['data']['val'][0].update(
        type='FailingDataset', how=how, rank=rank, where=where)
    config = write_config(tmp_path / 'a.py', cfg)
    fails(
        run_script(
            'dist_train_multi_task.sh', config, processes, folder=tmp_path),
        how, rank)


def test_exception_in_an_evaluation(runs, tmp_path):
    die_in_dataset(
        runs, tmp_path, 'exception', 1, 'scoring', evaluation__interval=1)


@pytest.mark.slow
@pytest.mark.parametrize('processes, rank', [(2, 0), (2, 1), (3, 2)])
@pytest.mark.parametrize('how', STATUS)
def test_training(runs, tmp_path, how, rank, processes):
    die_in_training(runs, tmp_path, how, rank, processes)


@pytest.mark.slow
@pytest.mark.parametrize('where, rank', [('check', 0), ('scoring', 0),
                                         ('scoring', 1)])
@pytest.mark.parametrize('how', STATUS)
def test_data_check_and_evaluation(runs, tmp_path, how, rank, where):
    die_in_dataset(runs, tmp_path, how, rank, where, evaluation__interval=1)


def test_error_of_all_is_told_once_and_last(runs, tmp_path):
    """Not once by each process, nor followed by torchrun's traceback."""
    done = run_script(
        'dist_train_gan.sh',
        runs.config2,
        2,
        '--load-from',
        'no.pth',
        folder=tmp_path)
    shown = done.stdout + done.stderr
    assert done.returncode == 1 and 'Traceback' not in shown
    assert shown.count("checkpoint 'no.pth' not found") == 1
    assert done.stderr.rstrip().splitlines()[-1].startswith('Error: ')


@pytest.mark.slow
def test_slow_check_of_the_data(runs, tmp_path):
    """Others wait for the first process, longer than for anything else."""
    cfg = config_of(runs.data, TWO, runner__max_iters=1)
    cfg['custom_imports'] = PARTS
    cfg['data']['val'][0].update(
        type='FailingDataset', how='kill', rank=-1, where='check', seconds=20)
    done = run_script(
        'dist_train_multi_task.sh',
        write_config(tmp_path / 'a.py', cfg),
        2,
        folder=tmp_path,
        MBOS_TIMEOUT_MINUTES='0.15')
    assert done.returncode == 0, done.stderr[-3000:]
