"""The exponential moving average of the weights."""
import logging
import types

import pytest
import torch
from mmcv.runner import HOOKS
from torch import nn

from mbos.engine.averaging import EMAWeightsHook, as_our_hook, averaged_weights


class Network(nn.Module):
    """A weight, a running mean, a count, and a discriminator."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(2))
        self.register_buffer('running_mean', torch.zeros(1))
        self.register_buffer('count', torch.zeros(1, dtype=torch.long))
        self.discriminators = nn.Linear(1, 1)


def runner_of(model, *hooks):
    return types.SimpleNamespace(
        model=model,
        hooks=list(hooks),
        iter=0,
        outputs={},
        logger=logging.getLogger('test'))


def step(hook, runner, value):
    """A step of the optimizers that sets the weights to a value."""
    with torch.no_grad():
        runner.model.weight.fill_(value)
        runner.model.running_mean.fill_(value)
    runner.outputs = dict(stepped=True)
    hook.after_train_iter(runner)
    runner.iter += 1


def started(**arguments):
    hook = EMAWeightsHook(**arguments)
    runner = runner_of(Network(), hook)
    hook.before_run(runner)
    return hook, runner


def test_average_by_hand():
    hook, runner = started(momentum=0.25, warm_up=0)
    for value in (4., 8.):
        step(hook, runner, value)
    # 0 + 0.25 * 4 = 1; 1 + 0.25 * 7 = 2.75
    assert hook.average['weight'].tolist() == [2.75, 2.75]
    assert hook.average['running_mean'].tolist() == [2.75]
    assert set(hook.average) == {'weight', 'running_mean'}
    assert runner.model.weight.tolist() == [8., 8.], 'training goes on'


def test_warm_up_forgets_the_start():
    hook, runner = started(momentum=0.25, warm_up=1)
    for value in (4., 8., 3., 3., 3.):
        step(hook, runner, value)
    # 1, 1/2, 1/3, then 0.25: 4, 6, 5, 4.5, 4.125
    assert hook.average['weight'].tolist() == pytest.approx([4.125] * 2)


def test_interval_and_iterations_without_a_step():
    hook, runner = started(momentum=0.5, warm_up=0, interval=2)
    step(hook, runner, 8.)
    assert hook.average['weight'].tolist() == [0., 0.]
    runner.outputs = {}  # gradients accumulate
    hook.after_train_iter(runner)
    step(hook, runner, 8.)
    assert hook.average['weight'].tolist() == [4., 4.]


def test_network_has_the_average_for_a_while():
    hook, runner = started(momentum=0.5, warm_up=0)
    step(hook, runner, 8.)
    before = runner.model.weight.data_ptr()
    with averaged_weights(runner):
        assert runner.model.weight.tolist() == [4., 4.]
        with averaged_weights(runner):  # no second exchange
            assert runner.model.weight.tolist() == [4., 4.]
        state, training = hook.states(runner.model)
        assert state['weight'].tolist() == [4., 4.]
        assert training['weight'].tolist() == [8., 8.]
    assert runner.model.weight.tolist() == [8., 8.]
    assert runner.model.weight.data_ptr() == before
    with pytest.raises(KeyError), averaged_weights(runner):
        raise KeyError
    assert runner.model.weight.tolist() == [8., 8.], 'after an error too'
    state, training = hook.states(runner.model)
    assert state['weight'].tolist() == [4., 4.]
    assert training['weight'].tolist() == [8., 8.]
    assert state['count'].tolist() == [0]


def test_runs_without_average_have_their_weights():
    runner = runner_of(Network())
    with averaged_weights(runner):
        assert runner.model.weight.tolist() == [0., 0.]


@pytest.mark.parametrize('arguments, word', [
    (dict(momentum=0), 'momentum'),
    (dict(momentum=1.5), 'momentum'),
    (dict(warm_up=-1), 'warm_up'),
    (dict(interval=0), 'interval'),
])
def test_arguments_without_meaning(arguments, word):
    with pytest.raises(ValueError, match=word):
        EMAWeightsHook(**arguments)


def test_hook_of_mmcv_becomes_ours():
    given = dict(type='EMAHook', momentum=0.01, interval=3, warm_up=7)
    ours = as_our_hook(given)
    assert ours == dict(type='EMAWeightsHook', momentum=0.01, interval=3)
    assert isinstance(HOOKS.build(ours), EMAWeightsHook)
    other = dict(type='EmptyCacheHook')
    assert as_our_hook(other) is other
    with pytest.raises(ValueError, match='--resume-from'):
        as_our_hook(dict(type='EMAHook', resume_from='a.pth'))
