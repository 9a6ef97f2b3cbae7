"""Steps of the optimizers, seeds of iterations, and lines of the log."""
import random
import types

import numpy as np
import pytest
import torch
from mmcv.runner import LogBuffer
from torch import nn

from mbos.engine.hooks import (GradientStepHook, IterationSeedHook,
                               average_gradients)
from mbos.engine.run_log import LossLogHook, condense
from tests.processes import run_processes


def three_parameters(rank):
    """Gradients in both processes, in one, in none."""
    parameters = [nn.Parameter(torch.zeros(2)) for _ in range(3)]
    parameters[0].grad = torch.tensor([1., 2.]) * (rank + 1)
    if rank == 1:
        parameters[1].grad = torch.tensor([4., 6.])
    frozen = nn.Parameter(torch.zeros(1), requires_grad=False)
    average_gradients([frozen, *parameters])
    return [None if p.grad is None else p.grad.tolist() for p in parameters]


def test_average_gradients(tmp_path):
    found = run_processes(three_parameters, 2, tmp_path)
    assert found == [[[1.5, 3.], [2., 3.], None]] * 2


class Parts(nn.Module):
    """Two parts and one that nothing uses."""

    def __init__(self):
        super().__init__()
        self.generator, self.judge, self.idle = (
            nn.Linear(2, 1, bias=False) for _ in range(3))
        for parameter in self.parameters():
            nn.init.ones_(parameter)


def runner_of(model, **optimizers):
    return types.SimpleNamespace(
        model=model, optimizer=optimizers, data_batch={}, iter=0, max_iters=5,
        _max_iters=5)  # yapf: disable


def train(hook, runner, *losses):
    """One iteration for each loss, a function of the model; returns which
    ones the optimizers stepped after."""
    stepped = []
    for loss in losses:
        hook.before_train_iter(runner)
        value = loss(runner.model)
        hook.backward(value)
        runner.outputs = dict(loss=value.detach(), losses={})
        hook.after_train_iter(runner)
        stepped.append(bool(runner.outputs.get('stepped')))
        runner.iter += 1
    return stepped


def loss_of(name, *inputs):
    return lambda model: getattr(model, name)(torch.tensor([inputs])).sum()


def close(weights, *expected):
    torch.testing.assert_close(
        weights.data, torch.tensor([expected]), atol=1e-5, rtol=0)


def test_step_and_untouched_parameter():
    model = Parts()
    used = [*model.generator.parameters(), *model.idle.parameters()]
    runner = runner_of(
        model,
        generator=torch.optim.AdamW(used, lr=0.1, weight_decay=0.5),
        judge=torch.optim.SGD(model.judge.parameters(), lr=0.1))
    model.idle.weight.grad = torch.ones(1, 2)  # of an earlier iteration
    judge, generator = (loss_of(n, 1., 3.) for n in ('judge', 'generator'))
    hook = GradientStepHook()

    def twice(model):
        hook.backward(judge(model))
        return judge(model) + generator(model)

    train(hook, runner, twice)
    # two passes add up: 1 - 0.1 * 2 * (1, 3)
    close(model.judge.weight, 0.8, 0.4)
    # AdamW: decay by lr * 0.5, then a first step of lr
    close(model.generator.weight, 0.95 - 0.1, 0.95 - 0.1)
    assert model.idle.weight.tolist() == [[1., 1.]], 'not even decayed'


def with_two_optimizers(model, lr=1.0):
    return runner_of(
        model,
        generator=torch.optim.SGD(model.generator.parameters(), lr=1.0),
        judge=torch.optim.SGD(model.judge.parameters(), lr=lr))


def test_clipping_is_by_optimizer():
    model = Parts()
    hook = GradientStepHook(grad_clip=dict(max_norm=1.0))
    large, small = loss_of('generator', 3., 4.), loss_of('judge', 0.3, 0.4)
    train(hook, with_two_optimizers(model), lambda m: large(m) + small(m))
    # norm 5 becomes 1; norm 0.5 stays, as each is clipped on its own
    close(model.generator.weight, 1 - 0.6, 1 - 0.8)
    close(model.judge.weight, 0.7, 0.6)


def test_steps_use_the_mean_of_accumulated_gradients():
    model, hook = Parts(), GradientStepHook(accumulate=2)
    runner = with_two_optimizers(model, lr=0.1)
    # mean (2, 4): 1 - 0.1 * (2, 4)
    assert train(hook, runner, loss_of('judge', 1., 3.),
                 loss_of('judge', 3., 5.)) == [False, True]
    close(model.judge.weight, 0.8, 0.6)
    # an iteration without a gradient of a part counts as zero
    assert train(hook, runner, loss_of('judge', 1., 1.),
                 loss_of('generator', 1., 0.)) == [False, True]
    close(model.judge.weight, 0.75, 0.55)
    close(model.generator.weight, 0.5, 1.)
    # the last iteration: a group of one
    assert train(hook, runner, loss_of('judge', 2., 2.)) == [True]
    close(model.judge.weight, 0.55, 0.35)


@pytest.mark.parametrize('arguments', [
    dict(accumulate=0), dict(accumulate=1.5), dict(accumulate='2'),
    dict(grad_clip=1.0), dict(grad_clip=dict(max_norm='x')),
    dict(grad_clip=dict(norm=1))
])  # yapf: disable
def test_arguments_without_meaning(arguments):
    with pytest.raises((ValueError, TypeError)):
        GradientStepHook(**arguments)


@pytest.mark.parametrize('grad_clip', [None, dict(max_norm=1.0)])
def test_loss_scaling_with_an_optimizer_without_gradients(grad_clip):
    model = Parts()
    hook = GradientStepHook(grad_clip=grad_clip, loss_scaling=True)
    train(hook, with_two_optimizers(model), loss_of('judge', 0.6, 0.8))
    close(model.judge.weight, 0.4, 0.2)
    close(model.generator.weight, 1., 1.)


def test_iteration_seed_depends_on_seed_rank_and_iteration():

    def draw(seed, rank, iteration):
        hook = IterationSeedHook(seed, rank)
        hook.before_train_iter(types.SimpleNamespace(iter=iteration))
        return random.random(), np.random.rand(), torch.rand(1).item()

    cases = [(0, 0, 0), (0, 0, 1), (0, 1, 0), (1, 0, 0)]
    drawn = [draw(*case) for case in cases]
    assert draw(0, 0, 0) == drawn[0]
    for values in zip(*drawn):
        assert len(set(values)) == len(cases)


def log_in_two(rank):
    """Lines of one process, without a break and with one in the second."""
    lines = []
    for broken in (False, True):
        hook = LossLogHook(2)
        runner = types.SimpleNamespace(log_buffer=LogBuffer())
        for runner.iter, a in enumerate([1., 3., 0.1 + rank, 3.3 - rank]):
            if broken and runner.iter == 3:
                state = hook.resume_state(runner)
                hook = LossLogHook(2)
                hook.load_resume_state(state, runner)
            value = torch.tensor(a)
            runner.outputs = dict(losses=dict(a=value), loss=2 * value)
            hook.after_train_iter(runner)
            if runner.log_buffer.output:
                lines.append(dict(runner.log_buffer.output))
                runner.log_buffer.clear_output()
    return lines


def test_losses_are_means_over_an_interval_and_the_processes(tmp_path):
    expected = [dict(a=2., loss=4.), dict(a=1.7, loss=3.4)] * 2
    for lines in run_processes(log_in_two, 2, tmp_path):
        assert lines == [pytest.approx(line) for line in expected]


def test_lines_on_the_screen_have_sums_of_each_kind():
    others = {'lr': 0.1, 'ddr_val.lesion.Dice.EX': 0.3, 'loss': 1.875}
    values = {
        'decode.loss_truth.vessel': 1.0,
        'aux.loss_truth.vessel': 0.25,
        'decode.loss_truth.odoc': 0.5,
        'decode.loss_adv.vessel.on_ddr': 0.125,
        'decode.disc_acc_source.vessel': 0.5,
        'aux.disc_acc_source.vessel': 1.0,
    }
    assert condense(values | others) == dict(
        others, loss_truth=1.75, loss_adv=0.125, disc_acc_source=0.75)
