"""Tiny runs of both stages, and what is compared of them."""
import re
import subprocess
import time
from pathlib import Path

import torch

from mbos.checkpoints.loading import read_checkpoint
from tests.tiny_runs import (TEST, TWO, config_of, member, read_log,
                             script_environment, write_config)


def write_long_config(path, data, adversarial=False, iterations=8, **changes):
    """Write the config of a run that has all that a resumption could lose.

    Warm-up, dropout, random transforms, evaluation with the best kept, and
    checkpoints and log lines at intervals that do not divide each other.
    """
    # yapf: disable
    defaults = dict(
        runner__max_iters=iterations, checkpoint_config__interval=2,
        log_config__interval=3, evaluation__interval=4,
        evaluation__save_best='mDice', lr_config__warmup='linear',
        lr_config__warmup_iters=5, lr_config__warmup_ratio=0.1)
    # yapf: enable
    cfg = config_of(data, TWO, adversarial, **dict(defaults, **changes))
    # the best checkpoint must not be chosen on test images
    cfg['test_sets'] = {}
    cfg['data']['test'] = member(
        0, 'c0', TEST, ann_dirs=dict(vessel='c0/vessel'))
    return write_config(path, cfg)


def folder_of(work, adversarial):
    """Where a run keeps its checkpoints."""
    return Path(work) / 'ckpt' if adversarial else Path(work)


def log_lines(work):
    """Losses, rates and metrics of all log files, by mode and iteration.

    A line that was logged twice must be the same.
    """
    lines, last = {}, 0
    for line in read_log(work, 'train', 'val'):
        for key in ('time', 'data_time', 'memory', 'epoch'):
            line.pop(key, None)
        # mmcv gives the number of images as the iteration of evaluations
        last = line['iter'] if line['mode'] == 'train' else last
        assert lines.setdefault((line['mode'], last), line) == line, last
    return lines


def train_lines(work):
    """Only the lines of training, by iteration."""
    return {i: v for (m, i), v in log_lines(work).items() if m == 'train'}


def val_lines(work):
    """The different metrics that evaluations logged, in order."""
    return [v for (mode, _), v in log_lines(work).items() if mode == 'val']


def assert_same_content(one, two, where=''):
    """Compare weights, optimizers, schedules and states, bit for bit."""
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, two), where
        return
    if isinstance(one, (list, tuple)):
        one, two = dict(enumerate(one)), dict(enumerate(two))
    if not isinstance(one, dict):
        assert one == two, f'{where}: {one!r} and {two!r}'
        return
    assert set(one) == set(two), where
    for key, value in one.items():
        assert_same_content(value, two[key], f'{where}.{key}')


def assert_same_checkpoint(one, two):
    """Compare all that a checkpoint holds but names of files and folders."""
    one, two = (read_checkpoint(str(path)) for path in (one, two))
    metas = [content.pop('meta') for content in (one, two)]
    assert_same_content(one, two)
    assert metas[0]['iter'] == metas[1]['iter']
    best = [m.get('hook_msgs', {}).get('best_score') for m in metas]
    assert best[0] == best[1]


def best_of(work):
    """Names of the best checkpoints that a run has kept."""
    return sorted(path.name for path in Path(work).glob('best_*'))


def start(*command, folder):
    """Start a command of the checkout on CPU; its output is collected."""
    with open(Path(folder) / 'output.txt', 'ab') as log:
        return subprocess.Popen(
            list(map(str, command)), cwd=folder, env=script_environment(),
            stdout=log, stderr=log, start_new_session=True)  # yapf: disable


def wait_for(pattern, folder, process, seconds=120):
    """Wait until the output of a started command holds a pattern."""
    end = time.time() + seconds
    text = ''
    while not re.search(pattern, text):
        assert process.poll() is None, f'ended early:\n{text[-3000:]}'
        assert time.time() < end, f'{pattern} did not come:\n{text[-3000:]}'
        time.sleep(0.05)
        text = (Path(folder) / 'output.txt').read_text(errors='replace')
