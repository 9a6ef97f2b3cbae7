"""The launchers with several processes on CPU, from another folder."""
import json
import shutil

import pytest
import torch

from mbos.checkpoints.loading import read_checkpoint
from tests.tiny_runs import (PARTS, TWO, config_of, read_log, run_script,
                             write_collection, write_config)

slow = pytest.mark.slow
SGD = dict(type='SGD', lr=0.01, momentum=0.9)


def plain_config(data, adversarial):
    """Without dropout, which each process draws for itself, and with SGD.

    Adam divides by the size of gradients, so where they are nearly 0 it would
    magnify the last bits of a sum to whole steps.
    """
    several = dict(
        constructor='NamedOptimizersConstructor', generator=SGD,
        discriminators=SGD, auxiliary_discriminators=SGD)  # yapf: disable
    cfg = config_of(
        data, TWO, adversarial, optimizer=several if adversarial else SGD,
        runner__max_iters=3, evaluation__interval=3, log_config__interval=1,
        checkpoint_config__interval=3, custom_imports=PARTS,
        custom_hooks=[dict(type='SaveRankHook')])  # yapf: disable
    for head in ('decode_head', 'auxiliary_head'):
        cfg['model'][head]['head']['dropout_ratio'] = 0.0
    return cfg


def launch(*arguments, folder):
    done = run_script(*arguments, folder=folder)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


@pytest.mark.parametrize('stage, processes', [
    (2, 2), *(pytest.param(*case, marks=slow)
              for case in ((1, 2), (1, 3), (2, 3)))])  # yapf: disable
def test_training(runs, tool, tmp_path, stage, processes):
    """N processes of 1 image train like 1 process of N images: losses and
    metrics within 2e-5, weights within 1e-5, the same in all processes.

    One collection has three images, the other seven: 3 iterations of 3
    processes go 3 times through the one and more than once through the other.
    """
    data = shutil.copytree(runs.data, tmp_path / 'uneven')
    write_collection(data / 'c1', ['lesion'], 7, 10, ['vessel'])
    config = write_config(tmp_path / 'a.py', plain_config(data, stage == 2))
    script, options, last = 'dist_train_multi_task.sh', (), 'iter_3.pth'
    if stage == 2:
        script, last = 'dist_train_gan.sh', 'ckpt/iter_3.pth'
        options = ('--load-from', runs.checkpoint1)
    assert tool('train.py', config, '--work-dir', 'one', *options,
                '--cfg-options', f'data.samples_per_gpu={processes}') is None
    options = ('--work-dir', 'many', *options)
    launch(script, config, processes, *options, folder=tmp_path)
    ranks = [
        torch.load(tmp_path / f'many/rank_{rank}.pth', weights_only=True)
        for rank in range(processes)
    ]
    for state in ranks[1:]:
        assert state.keys() == ranks[0].keys()
        assert all(torch.equal(state[k], ranks[0][k]) for k in state)
    pairs = list(zip(*(read_log(tmp_path / work, 'train', 'val')
                       for work in ('one', 'many'))))  # yapf: disable
    assert len(pairs) == 4 and pairs[-1][0]['mode'] == 'val'
    for one, many in pairs:
        for name in (k for k in one if '.' in k or k == 'loss'):
            assert abs(one[name] - many[name]) <= 2e-5, name
    one, many = (
        read_checkpoint(str(tmp_path / work / last))['state_dict']
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
    what = (config, runs.checkpoint2)
    more = ('--eval', 'mIoU', '--datasets', 'all', '--vis', '--output_dir',
            'maps', '--work-dir')
    one, two = tmp_path / 'one', tmp_path / 'two'
    assert tool('test.py', *what, *more, one) is None
    (tmp_path / 'maps').rename(one / 'maps')
    launch('dist_test_gan.sh', *what, processes, *more, two, folder=tmp_path)
    (tmp_path / 'maps').rename(two / 'maps')
    images = [json.loads((one / f'eval_c{i}.json').read_text())['images']
              for i in (0, 1)]  # yapf: disable
    assert images == [1, 3]
    found = [{
        str(path.relative_to(work)): path.read_bytes()
        for path in work.rglob('*.*')
        if path.suffix in ('.png', '.json', '.html')
    } for work in (one, two)]
    assert found[0] == found[1] and 'report.html' in found[0]
    assert len(list(two.rglob('maps/**/*.png'))) == 2 * (1 + 3)
