"""Averaged weights (EMA) in all that reads a checkpoint."""
import json
import types

import pytest
import torch

from mbos.apis import load_model, read_checkpoint
from mbos.checkpoints.foreign_state import AVERAGE
from tests.test_reliability.runs import assert_same_checkpoint, val_lines
from tests.tiny_runs import config_of, run_tool, write_config, write_data

TWO = ('vessel', 'lesion')


@pytest.fixture(scope='module')
def averaged(tmp_path_factory):
    """A run of stage 1 with mmcv's hook in its config."""
    root = tmp_path_factory.mktemp('averaged')
    write_data(root / 'data', TWO)
    config = write_config(
        root / 'averaged.py',
        config_of(
            root / 'data',
            TWO,
            evaluation__save_best=None,
            custom_hooks=[dict(type='EMAHook', momentum=0.1)]))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        assert run_tool(patch, 'train.py', config, '--work-dir', 'run') is None
    return types.SimpleNamespace(
        root=root, config=config, last=root / 'run/iter_4.pth')


@pytest.fixture
def as_mmcv_saves(averaged, tmp_path):
    """The checkpoint as mmcv's hook leaves it, with ``ema_*`` buffers."""
    content = read_checkpoint(str(averaged.last))
    training = content.pop('training_weights')
    state = content['state_dict']
    buffers = {
        f'{AVERAGE}{name.replace(".", "_")}': state[name]
        for name in training
    }
    content['state_dict'] = {**state, **training, **buffers}
    content['progress']['hooks'].pop('EMAWeightsHook')
    path = tmp_path / 'mmcv.pth'
    torch.save(content, path)
    return path


def test_checkpoint_holds_both(averaged):
    content = read_checkpoint(str(averaged.last))
    training = content['training_weights']
    assert content['progress']['hooks']['EMAWeightsHook'] == dict(steps=4)
    differing = [
        name for name, value in training.items()
        if not torch.equal(value, content['state_dict'][name])
    ]
    assert len(differing) > len(training) / 2
    assert not any(n.startswith(AVERAGE) for n in content['state_dict'])


def test_prediction_takes_the_average(averaged, as_mmcv_saves):
    state = read_checkpoint(str(averaged.last))['state_dict']
    for path in (averaged.last, as_mmcv_saves):
        model = load_model(str(path), device='cpu')
        for name, value in model.state_dict().items():
            assert torch.equal(value, state[name]), (path, name)


def test_validation_scores_the_average(averaged, tool, tmp_path):
    """The metrics of the log are those of the checkpoint."""
    assert tool('test.py', averaged.config, averaged.last, '--datasets', 'c1',
                '--eval', 'mIoU', '--work-dir', 'scores') is None
    found = json.loads((tmp_path / 'scores/eval_c1.json').read_text())
    logged = val_lines(averaged.root / 'run')[-1]
    for label in ('EX', 'HE', 'SE', 'MA'):
        key = f'lesion.Dice.{label}'
        assert logged[f'c1_test.{key}'] == pytest.approx(
            found['figures'][key], abs=1e-4)


def test_published_file_holds_the_average(averaged, as_mmcv_saves, tool,
                                          tmp_path):
    state = read_checkpoint(str(averaged.last))['state_dict']
    for number, path in enumerate((averaged.last, as_mmcv_saves)):
        assert tool('publish_model.py', path, f'model{number}') is None
        published, = tmp_path.glob(f'model{number}-*.pth')
        content = read_checkpoint(str(published))
        assert set(content) == {'state_dict', 'meta'}
        assert set(content['state_dict']) == set(state)
        for name, value in content['state_dict'].items():
            assert torch.equal(value, state[name]), (path, name)


@pytest.mark.parametrize('averages', [True, False])
def test_resumed_from_what_mmcv_saves(averaged, as_mmcv_saves, tool, tmp_path,
                                      averages):
    """Training goes on with its own weights, not with the average."""
    options = ['runner.max_iters=5']
    if not averages:
        options.append('custom_hooks=[]')
    for number, path in enumerate((averaged.last, as_mmcv_saves)):
        assert tool('train.py', averaged.config, '--work-dir', f'w{number}',
                    '--no-validate', '--resume-from', path, '--cfg-options',
                    *options, 'checkpoint_config.interval=1') is None
    assert_same_checkpoint(tmp_path / 'w0/iter_5.pth',
                           tmp_path / 'w1/iter_5.pth')
    content = read_checkpoint(str(tmp_path / 'w0/iter_5.pth'))
    assert ('training_weights' in content) == averages
