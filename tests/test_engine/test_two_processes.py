"""The launchers with several processes on CPU, from another folder."""
import json
import shutil

import pytest
import torch

from mbos.checkpoints.loading import read_checkpoint
from tests.tiny_runs import (PARTS, TWO, config_of, run_script,
                             write_collection, write_config)

slow = pytest.mark.slow
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
        checkpoint_config__interval=3,
        custom_imports=PARTS,
        custom_hooks=[dict(type='SaveRankHook')])
    for head in ('decode_head', 'auxiliary_head'):
        cfg['model'][head]['head']['dropout_ratio'] = 0.0
    return cfg


def lines(work):
    path, = work.glob('*.log.json')
    return [json.loads(line) for line in path.read_text().splitlines()[1:]]


def finished(done):
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


@pytest.fixture
def uneven(runs, tmp_path):
    """Three images of one collection, seven of the other: 3 iterations of 3
    processes go 3 times through the one and more than once through the other.
    """
    data = shutil.copytree(runs.data, tmp_path / 'uneven')
    write_collection(data / 'c1', ['lesion'], 7, 10, ['vessel'])
    return data


@pytest.mark.parametrize('stage, processes', [
    pytest.param(1, 2, marks=slow),
    pytest.param(1, 3, marks=slow),
    (2, 2),
    pytest.param(2, 3, marks=slow),
])
def test_training(runs, uneven, tool, tmp_path, stage, processes):
    """N processes of 1 image train like 1 process of N images: losses and
    metrics within 2e-5, weights within 1e-5, the same in all processes."""
    config = write_config(tmp_path / 'a.py', plain_config(uneven, stage == 2))
    if stage == 1:
        script, options, folder = 'dist_train_multi_task.sh', (), ''
    else:
        script, folder = 'dist_train_gan.sh', 'ckpt'
        options = ('--load-from', runs.checkpoint1)
    assert tool('train.py', config, '--work-dir', 'one', *options,
                '--cfg-options', f'data.samples_per_gpu={processes}') is None
    finished(
        run_script(
            script,
            config,
            processes,
            '--work-dir',
            'many',
            *options,
            folder=tmp_path))
    ranks = [
        torch.load(tmp_path / f'many/rank_{rank}.pth', weights_only=True)
        for rank in range(processes)
    ]
    for state in ranks[1:]:
        assert state.keys() == ranks[0].keys()
        assert all(torch.equal(state[k], ranks[0][k]) for k in state)
    pairs = list(zip(lines(tmp_path / 'one'), lines(tmp_path / 'many')))
    assert len(pairs) == 4 and pairs[-1][0]['mode'] == 'val'
    for one, many in pairs:
        names = {k for k in one if '.' in k or k == 'loss'}
        assert names <= set(many)
        for name in names:
            assert abs(one[name] - many[name]) <= 2e-5, name
    one, many = (
        read_checkpoint(str(tmp_path / work / folder /
                            'iter_3.pth'))['state_dict']
        for work in ('one', 'many'))
    for name, value in one.items():
        torch.testing.assert_close(many[name], value, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('processes', [2, pytest.param(3, marks=slow)])
def test_evaluation(runs, tool, tmp_path, processes):
    """Exactly the metrics of one process, each image once.

    Also of sets with one image, fewer than processes, and with three.
    """
    data = shutil.copytree(runs.data, tmp_path / 'data')
    for name in ('images/eye_1.jpg', 'vessel/eye_1.png'):
        (data / 'c0_test' / name).unlink()
    config = write_config(tmp_path / 'a.py', config_of(data, TWO, True))
    more = (config, runs.checkpoint2, '--eval', 'mIoU', '--datasets', 'all',
            '--vis', '--output_dir', 'maps', '--work-dir')
    assert tool('test.py', *more, 'one') is None
    (tmp_path / 'maps').rename(tmp_path / 'one/maps')
    more = (*more[:2], processes, *more[2:])
    finished(run_script('dist_test_gan.sh', *more, 'two', folder=tmp_path))
    (tmp_path / 'maps').rename(tmp_path / 'two/maps')
    for name, images in (('eval_c0.json', 1), ('eval_c1.json', 3)):
        first, second = (
            json.loads((tmp_path / work / name).read_text())
            for work in ('one', 'two'))
        assert first == second and first['figures']
        assert first['images'] == images
    pages = [(tmp_path / w / 'report.html').read_text()
             for w in ('one', 'two')]
    assert pages[0] == pages[1] and 'report_files/c1/lesion' in pages[0]
    maps = [{
        str(path.relative_to(tmp_path / work)): path.read_bytes()
        for path in (tmp_path / work / 'maps').rglob('*.png')
    } for work in ('one', 'two')]
    assert maps[0] == maps[1] and len(maps[0]) == 2 * (1 + 3)


@slow
def test_wrong_data_end_both_processes(runs, tmp_path):
    """Nobody waits for the process that reads the data and gives up."""
    data = shutil.copytree(runs.data, tmp_path / 'data')
    mask = data / 'c0/vessel/eye_0.png'
    mask.write_bytes(mask.read_bytes()[:100])
    config = write_config(tmp_path / 'a.py', config_of(data, TWO))
    done = run_script('dist_train_gan.sh', config, 2, folder=tmp_path)
    assert done.returncode == 1
    assert f'{mask}: cannot be read' in done.stderr
    assert not (tmp_path / 'work_dirs').exists()
