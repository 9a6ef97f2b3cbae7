"""The exponential moving average (EMA) of the weights."""
import datetime
import json
import types

import pytest
import torch
from mmcv.runner import HOOKS, Hook
from torch import nn

from mbos.apis import load_model, read_checkpoint
from mbos.engine.averaging import EMAWeightsHook, averaged_weights
from tests.test_reliability.runs import val_lines
from tests.tiny_runs import TWO, config_of, run_tool, write_config, write_data


class Network(nn.Module):
    """A weight, a running mean, a count, and a discriminator."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(2))
        self.register_buffer('running_mean', torch.zeros(1))
        self.register_buffer('count', torch.zeros(1, dtype=torch.long))
        self.discriminators = nn.Linear(1, 1)


def stepped(momentum, warm_up, *values):
    """A run whose steps of the optimizers set the weights to values; every
    second iteration only gathers gradients."""
    hook = EMAWeightsHook(momentum, warm_up)
    runner = types.SimpleNamespace(model=Network(), hooks=[hook])
    hook.before_run(runner)
    for value in values:
        with torch.no_grad():
            runner.model.weight.fill_(value)
            runner.model.running_mean.fill_(value)
        for runner.outputs in (dict(stepped=True), {}):
            hook.after_train_iter(runner)
    return hook, runner


@pytest.mark.parametrize(
    'momentum, warm_up, values, expected',
    [
        # 0 + 0.25 * 4 = 1; 1 + 0.25 * 7
        (0.25, 0, (4., 8.), 2.75),
        # 1, 1/2, 1/3, then 0.25: 4, 6, 5, 4.5, 4.125
        (0.25, 1, (4., 8., 3., 3., 3.), 4.125),
    ])
def test_average_by_hand(momentum, warm_up, values, expected):
    hook, runner = stepped(momentum, warm_up, *values)
    assert set(hook.average) == {'weight', 'running_mean'}
    assert hook.average['weight'].tolist() == pytest.approx([expected] * 2)
    assert hook.average['running_mean'].item() == pytest.approx(expected)
    assert runner.model.weight.tolist() == [values[-1]] * 2, 'training goes on'


def test_network_has_the_average_for_a_while():
    hook, runner = stepped(0.5, 0, 8.)

    def check(weight):
        assert runner.model.weight.tolist() == [weight] * 2
        found = [s['weight'].tolist() for s in hook.states(runner.model)]
        assert found == [[4., 4.], [8., 8.]]

    with pytest.raises(KeyError), averaged_weights(runner):
        check(4.)
        raise KeyError
    check(8.)


@HOOKS.register_module()
class NotingHook(Hook):
    """Adds a buffer to the network and notes what no checkpoint can hold."""

    def before_run(self, runner):
        runner.model.module.register_buffer('seen_images', torch.zeros(1))

    def after_train_iter(self, runner):
        runner.meta['began'] = datetime.date(2026, 1, 2)

    def resume_state(self, runner):
        return dict(runner=type(runner))


@pytest.fixture(scope='module')
def averaged(tmp_path_factory):
    """A run of stage 1 with mmcv's name of the hook in its config, and a hook
    of one's own, which must not spoil checkpoints."""
    root = tmp_path_factory.mktemp('averaged')
    write_data(root / 'data', TWO)
    hooks = [dict(type='NotingHook'), dict(type='EMAHook', momentum=0.1)]
    config = write_config(root / 'averaged.py',
                          config_of(root / 'data', TWO, custom_hooks=hooks))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        assert run_tool(patch, 'train.py', config, '--work-dir', 'run') is None
    return types.SimpleNamespace(
        config=config, work=root / 'run', last=root / 'run/iter_4.pth')


def test_whoever_reads_the_checkpoint_gets_the_average(averaged, tool,
                                                       tmp_path):
    """Prediction, evaluation and publishing; training does not."""
    content = read_checkpoint(str(averaged.last))
    state, training = content['state_dict'], content['training_weights']
    assert content['progress']['hooks']['EMAWeightsHook'] == dict(steps=4)
    assert content['meta']['began'] == '2026-01-02'
    differing = [n for n in training if not training[n].equal(state[n])]
    assert len(differing) > len(training) / 2
    model = load_model(str(averaged.last), device='cpu')
    assert tool('publish_model.py', averaged.last, 'model') is None
    published, = tmp_path.glob('model-*.pth')
    published = read_checkpoint(str(published))
    assert 'training_weights' not in published
    for found in (model.state_dict(), published['state_dict']):
        assert all(torch.equal(value, state[n]) for n, value in found.items())
    assert tool('test.py', averaged.config, averaged.last, '--datasets', 'c1',
                '--eval', 'mIoU', '--work-dir', 'scores') is None
    found = json.loads((tmp_path / 'scores/eval_c1.json').read_text())
    logged = val_lines(averaged.work)[-1]
    for key in (f'lesion.Dice.{label}' for label in ('EX', 'HE', 'SE', 'MA')):
        assert logged[f'c1_test.{key}'] == pytest.approx(
            found['figures'][key], abs=1e-4)


def test_a_run_goes_on_with_the_hooks_and_without(averaged, tool):
    """Without, with the weights of training."""
    for work, options in (('with', ()), ('w', ('custom_hooks=[]', ))):
        assert tool('train.py', averaged.config, '--no-validate', '--work-dir',
                    work, '--resume-from', averaged.last, '--cfg-options',
                    'runner.max_iters=5', 'optimizer.lr=0.0',
                    'optimizer.weight_decay=0.0', *options) is None
    training = read_checkpoint(str(averaged.last))['training_weights']
    kept = read_checkpoint('with/iter_5.pth')['training_weights']
    content = read_checkpoint('w/iter_5.pth')
    assert 'training_weights' not in content
    for name, value in training.items():
        assert torch.equal(content['state_dict'][name], value), name
        assert torch.equal(kept[name], value), name
