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
        model=model,
        optimizer=optimizers,
        data_batch={},
        iter=0,
        max_iters=5,
        _max_iters=5)


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
    return lambda model: model.get_submodule(name)(torch.tensor([inputs])).sum(
    )


def close(weights, *expected):
    torch.testing.assert_close(
        weights.data, torch.tensor([expected]), atol=1e-5, rtol=0)


def test_step_and_untouched_parameter():
    model = Parts()
    runner = runner_of(
        model,
        generator=torch.optim.AdamW(
            [*model.generator.parameters(), *model.idle.parameters()],
            lr=0.1,
            weight_decay=0.5),
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


class LogRunner:
    """As much of a runner as the log hook looks at."""

    def __init__(self, iterations):
        self.iter, self._max_iters = 0, iterations
        self.log_buffer = LogBuffer()

    def log(self, hook, **losses):
        values = {k: torch.tensor(float(v)) for k, v in losses.items()}
        self.outputs = dict(losses=values, loss=sum(values.values()))
        hook.after_train_iter(self)
        self.iter += 1

    def line(self):
        self.log_buffer.average(self._max_iters)
        line = dict(self.log_buffer.output)
        self.log_buffer.clear_output()
        return line


def test_losses_are_means_over_the_interval():
    runner, hook = LogRunner(6), LossLogHook(2)
    runner.log(hook, a=1, b=2)
    assert not runner.log_buffer.val_history
    runner.log(hook, a=3, b=4)
    assert runner.line() == dict(a=2., b=3., loss=5.)
    for value in (10, 20):
        runner.log(hook, a=value)
    assert runner.line() == dict(a=15., loss=15.), 'none of the line before'


def log_in_two(rank):
    """Lines of two processes, without a break and with one after three of
    four iterations."""
    lines = []
    for broken in (False, True):
        runner, hook = LogRunner(4), LossLogHook(4)
        for i, value in enumerate([0.1 + rank, 0.7 - rank, 1 / 3, 3.3]):
            if broken and i == 3:
                state = hook.resume_state(runner)
                hook = LossLogHook(4)
                hook.load_resume_state(state, runner)
            runner.log(hook, a=value)
        lines.append(runner.line())
    return lines


def test_losses_are_means_over_the_processes_and_survive_a_break(tmp_path):
    # 0.1 + 0.7 and 1.1 - 0.3, with 1/3 + 3.3 in both
    expected = pytest.approx((0.8 + 1 / 3 + 3.3) / 4)
    for lines in run_processes(log_in_two, 2, tmp_path):
        assert [line['a'] for line in lines] == [expected] * 2


def test_lines_on_the_screen_have_sums_of_each_kind():
    values = {
        'lr': 0.1,
        'decode.loss_truth.vessel': 1.0,
        'aux.loss_truth.vessel': 0.25,
        'decode.loss_truth.odoc': 0.5,
        'decode.loss_adv.vessel.on_ddr': 0.125,
        'decode.disc_acc_source.vessel': 0.5,
        'aux.disc_acc_source.vessel': 1.0,
        'ddr_val.lesion.Dice.EX': 0.3,
        'loss': 1.875
    }
    assert condense(values) == {
        'lr': 0.1,
        'loss_truth': 1.75,
        'loss_adv': 0.125,
        'disc_acc_source': 0.75,
        'ddr_val.lesion.Dice.EX': 0.3,
        'loss': 1.875
    }
