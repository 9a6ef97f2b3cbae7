"""The launchers with two processes on CPU, from another folder."""
import json
import shutil

import pytest
import torch

from mbos.apis.checkpoint import read_checkpoint
from tests.tiny_runs import config_of, run_script, write_config

TWO = ('vessel', 'lesion')
SGD = dict(type='SGD', lr=0.01, momentum=0.9)


def plain_config(data, adversarial=False):
    """Without dropout, which each process draws for itself, and with SGD.

    Adam divides by the size of gradients, so where they are nearly 0 it would
    magnify the last bits of a sum to whole steps.
    """
    optimizer = SGD
    if adversarial:
        optimizer = dict(
            constructor='NamedOptimizersConstructor',
            generator=SGD,
            discriminators=SGD,
            auxiliary_discriminators=SGD)
    cfg = config_of(
        data,
        TWO,
        adversarial,
        optimizer=optimizer,
        runner__max_iters=3,
        evaluation__interval=3,
        log_config__interval=1,
        checkpoint_config__interval=3)
    for head in ('decode_head', 'auxiliary_head'):
        cfg['model'][head]['head']['dropout_ratio'] = 0.0
    return cfg


def lines(work):
    path, = work.glob('*.log.json')
    return [json.loads(line) for line in path.read_text().splitlines()[1:]]


def same_run(first, second, folder=''):
    """Losses, figures and weights of two runs: equal within 1e-5."""
    pairs = list(zip(lines(first), lines(second)))
    assert len(pairs) == 4 and pairs[-1][0]['mode'] == 'val'
    for one, two in pairs:
        names = {k for k in one if '.' in k or k == 'loss'}
        assert names <= set(two)
        for name in names:
            assert abs(one[name] - two[name]) <= 2e-5, name
    one, two = (
        read_checkpoint(str(w / folder / 'iter_3.pth'))['state_dict']
        for w in (first, second))
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=1e-4, atol=1e-5)


def finished(done):
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


def test_stage_1_of_two_processes(runs, tool, tmp_path):
    """2 processes of 1 image train like 1 process of 2 images."""
    config = write_config(tmp_path / 'a.py', plain_config(runs.data))
    assert tool('train.py', config, '--work-dir', 'one', '--cfg-options',
                'data.samples_per_gpu=2') is None
    finished(
        run_script(
            'dist_train_multi_task.sh',
            config,
            2,
            '--work-dir',
            'two',
            folder=tmp_path))
    same_run(tmp_path / 'one', tmp_path / 'two')


def test_stage_2_of_two_processes(runs, tool, tmp_path):
    config = write_config(tmp_path / 'a.py', plain_config(runs.data, True))
    start = ('--load-from', runs.checkpoint1)
    assert tool('train.py', config, '--work-dir', 'one', *start,
                '--cfg-options', 'data.samples_per_gpu=2') is None
    finished(
        run_script(
            'dist_train_gan.sh',
            config,
            2,
            '--work-dir',
            'two',
            *start,
            folder=tmp_path))
    same_run(tmp_path / 'one', tmp_path / 'two', 'ckpt')


def test_evaluation_of_two_processes(runs, tool, tmp_path):
    """Exactly the figures of one process, also of a set of odd length."""
    arguments = (runs.config2, runs.checkpoint2)
    more = ('--eval', 'mIoU', '--datasets', 'all', '--vis', '--output_dir')
    assert tool('test.py', *arguments, *more, 'maps1', '--work-dir',
                'one') is None
    finished(
        run_script(
            'dist_test_gan.sh',
            *arguments,
            2,
            *more,
            'maps2',
            '--work-dir',
            'two',
            folder=tmp_path))
    for name in ('eval_c0.json', 'eval_c1.json'):
        first, second = (
            json.loads((tmp_path / work / name).read_text())
            for work in ('one', 'two'))
        assert first == second and first['figures']
    pages = [(tmp_path / w / 'report.html').read_text()
             for w in ('one', 'two')]
    assert pages[0] == pages[1] and 'report_files/c1/lesion' in pages[0]
    maps = [{
        str(path.relative_to(tmp_path / folder)): path.read_bytes()
        for path in (tmp_path / folder).rglob('*.png')
    } for folder in ('maps1', 'maps2')]
    assert maps[0] == maps[1] and len(maps[0]) == 2 * (2 + 3)


@pytest.mark.slow
def test_wrong_data_end_both_processes(runs, tmp_path):
    """Nobody waits for the process that reads the data and gives up."""
    data = shutil.copytree(runs.data, tmp_path / 'data')
    mask = data / 'c0/vessel/eye_0.png'
    mask.write_bytes(mask.read_bytes()[:100])
    config = write_config(tmp_path / 'a.py', config_of(data, TWO))
    done = run_script('dist_train_gan.sh', config, 2, folder=tmp_path)
    assert done.returncode != 0
    assert f'{mask}: the mask cannot be read' in done.stderr
    assert not (tmp_path / 'work_dirs').exists()
