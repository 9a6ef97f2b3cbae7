"""A process that dies ends the run, with its reason, whatever others do."""
import re
import time

import pytest

from tests.tiny_runs import PARTS, TWO, config_of, run_script, write_config

slow = pytest.mark.slow
SECONDS = 60
ENDS = dict(
    exception=(1, 'Process {} .* failed: RuntimeError: the fault of this '
               'process\nIts traceback is above'),
    kill=(137, 'Process {} .* was killed by SIGKILL'),
    exit=(3, 'Process {} .* left with status 3'),
    exit_well=(1, 'left by sys.exit before the run was over'),
    exit_hard=(1, 'No process reported an error'))
"""dict: Exit status and last words of a run, by how a process ends."""


def check_end(done, how, rank):
    """Check how a run ended, and that it did soon after the fault."""
    shown = done.stdout + done.stderr
    found = re.search(r'fails at ([\d.]+)', done.stdout)
    assert found, shown[-3000:]
    assert time.time() - float(found[1]) < SECONDS
    status, reason = ENDS[how]
    assert done.returncode == status, shown[-3000:]
    end = '\n'.join(done.stderr.rstrip().splitlines()[-2:])
    assert re.search(reason.format(rank), end), end[-3000:]
    assert how != 'exception' or re.search(
        r'Traceback.*_raise\n.*RuntimeError: the fault', shown, re.DOTALL)


@pytest.fixture
def launch(runs, tmp_path):
    """Function that trains in several processes, of which one may die: in an
    iteration, or where a dataset is checked or scored."""

    def run(where, processes=2, **fault):
        cfg = config_of(
            runs.data, TWO, custom_imports=PARTS, evaluation__interval=1)
        if where == 'training':
            cfg['custom_hooks'] = [dict(type='FailingHook', **fault)]
        else:
            cfg['data']['val'][0].update(
                type='FailingDataset', where=where, **fault)
        config = write_config(tmp_path / 'a.py', cfg)
        return run_script(
            'dist_train_multi_task.sh', config, processes, folder=tmp_path)

    return run


@slow
@pytest.mark.parametrize('processes, rank', [(2, 0), (2, 1), (3, 2)])
@pytest.mark.parametrize('how', ENDS)
def test_training(launch, how, rank, processes):
    check_end(launch('training', processes, how=how, rank=rank), how, rank)


@pytest.mark.parametrize('how, where, rank', [('exception', 'scoring', 1)] + [
    pytest.param(how, where, rank, marks=slow)
    for how in ('exception', 'kill', 'exit', 'exit_well')
    for where, rank in (('check', 0), ('scoring', 0), ('scoring', 1))
])
def test_data_check_and_evaluation(launch, how, rank, where):
    """In the first validation set."""
    check_end(launch(where, how=how, rank=rank), how, rank)


def test_error_of_all_is_told_once_and_last(runs, tmp_path):
    """Not once by each process, nor followed by torchrun's traceback."""
    wrong = (runs.config2, 2, '--load-from', 'no.pth')
    done = run_script('dist_train_gan.sh', *wrong, folder=tmp_path)
    shown = done.stdout + done.stderr
    assert done.returncode == 1 and 'Traceback' not in shown
    assert shown.count("checkpoint 'no.pth' not found") == 1
    assert done.stderr.rstrip().splitlines()[-1].startswith('Error: ')
