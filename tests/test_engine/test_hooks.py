import logging
import random
import types

import numpy as np
import pytest
import torch
from mmcv.runner import LogBuffer
from torch import nn

from mbos.engine.hooks import (GradientStepHook, IterationSeedHook,
                               LossLogHook, average_gradients)
from mbos.engine.run_log import condense
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
        self.generator = nn.Linear(2, 1, bias=False)
        self.judge = nn.Linear(2, 1, bias=False)
        self.idle = nn.Linear(2, 1, bias=False)
        for parameter in self.parameters():
            nn.init.ones_(parameter)


def runner_of(model, iterations=10, **optimizers):
    return types.SimpleNamespace(
        model=model,
        optimizer=optimizers,
        iter=0,
        max_iters=iterations,
        _max_iters=iterations,
        logger=logging.getLogger('test'),
        outputs=dict(loss=torch.zeros(()), losses={}))


def train(hook, runner, losses):
    """One iteration for each loss; a loss is a function of the model."""
    stepped = []
    for loss in losses:
        hook.before_train_iter(runner)
        value = loss(runner.model)
        hook.backward(value)
        runner.outputs = dict(
            loss=value.detach(), losses=dict(a=value.detach()))
        hook.after_train_iter(runner)
        stepped.append(bool(runner.outputs.get('stepped')))
        runner.iter += 1
    return stepped


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
    hook = GradientStepHook()
    hook.before_train_iter(runner)
    inputs = torch.tensor([[1., 3.]])
    hook.backward(model.judge(inputs).sum())
    hook.backward(model.judge(inputs).sum() + model.generator(inputs).sum())
    hook.after_train_iter(runner)
    # two passes add up: 1 - 0.1 * 2 * (1, 3)
    close(model.judge.weight, 0.8, 0.4)
    # AdamW: decay by lr * 0.5, then a first step of lr
    close(model.generator.weight, 0.95 - 0.1, 0.95 - 0.1)
    assert model.idle.weight.tolist() == [[1., 1.]], 'not even decayed'


def test_clipping_is_by_optimizer():
    model = Parts()
    runner = runner_of(
        model,
        generator=torch.optim.SGD(model.generator.parameters(), lr=1.0),
        judge=torch.optim.SGD(model.judge.parameters(), lr=1.0))
    inputs = torch.tensor([[3., 4.]])
    train(
        GradientStepHook(grad_clip=dict(max_norm=1.0)), runner, [
            lambda model: model.generator(inputs).sum() + 0.1 * model.judge(
                inputs).sum()
        ])
    # norm 5 becomes 1; norm 0.5 stays, as each is clipped on its own
    close(model.generator.weight, 1 - 0.6, 1 - 0.8)
    close(model.judge.weight, 0.7, 0.6)


def judged(*inputs):
    return lambda model: model.judge(torch.tensor([inputs])).sum()


def two_optimizers(model):
    return dict(
        generator=torch.optim.SGD(model.generator.parameters(), lr=1.0),
        judge=torch.optim.SGD(model.judge.parameters(), lr=0.1))


def test_steps_use_the_mean_of_accumulated_gradients():
    model = Parts()
    runner = runner_of(model, iterations=5, **two_optimizers(model))
    hook = GradientStepHook(accumulate=2)
    # mean (2, 4): 1 - 0.1 * (2, 4)
    assert train(hook, runner,
                 [judged(1., 3.), judged(3., 5.)]) == [False, True]
    close(model.judge.weight, 0.8, 0.6)
    losses = [
        judged(1., 1.),
        lambda model: model.generator(torch.tensor([[1., 0.]])).sum()
    ]
    assert train(hook, runner, losses) == [False, True]
    # an iteration without a gradient of a part counts as zero
    close(model.judge.weight, 0.75, 0.55)
    close(model.generator.weight, 0.5, 1.)
    # the last iteration: a group of one
    assert train(hook, runner, [judged(2., 2.)]) == [True]
    close(model.judge.weight, 0.55, 0.35)


@pytest.mark.parametrize('done', [1, 2, 3, 4])
def test_a_break_between_steps_changes_nothing(done):
    rng = torch.Generator().manual_seed(0)
    losses = [judged(*torch.rand(2, generator=rng).tolist())
              for _ in range(5)]  # yapf: disable
    found = []
    for broken in (False, True):
        model = Parts()
        runner = runner_of(model, iterations=5, **two_optimizers(model))
        hook = GradientStepHook(accumulate=3)
        train(hook, runner, losses[:done])
        if broken:
            state = hook.resume_state(runner)
            for parameter in model.parameters():
                parameter.grad = None
            hook = GradientStepHook(accumulate=3)
            hook.load_resume_state(state, runner)
        train(hook, runner, losses[done:])
        found.append(model.judge.weight.tolist())
    assert found[0] == found[1]


def test_what_is_not_finite_is_dropped_with_all_since_the_last_step():
    model = Parts()
    runner = runner_of(model, **two_optimizers(model))
    hook = GradientStepHook(accumulate=3, on_nonfinite='skip')
    train(hook, runner,
          [judged(9., 9.),
           judged(float('nan'), 0.),
           judged(1., 2.)])
    close(model.judge.weight, 0.9, 0.8)


@pytest.mark.parametrize('arguments', [
    dict(accumulate=0), dict(accumulate=1.5), dict(accumulate='2'),
    dict(grad_clip=1.0), dict(grad_clip=dict(max_norm='x')),
    dict(grad_clip=dict(norm=1)), dict(on_nonfinite='ignore'),
    dict(max_skips=0)
])  # yapf: disable
def test_arguments_without_meaning(arguments):
    with pytest.raises((ValueError, TypeError)):
        GradientStepHook(**arguments)


def accumulate_in_two(rank):
    """Two iterations, a break after the first; own gradients everywhere."""
    model, hook = Parts(), GradientStepHook(accumulate=2)
    runner = runner_of(model, **two_optimizers(model))
    for broken in (True, False):
        hook.before_train_iter(runner)
        gradient = torch.tensor([[1. + rank, 2.]])
        old = model.judge.weight.grad
        model.judge.weight.grad = gradient if old is None else old + gradient
        hook.after_train_iter(runner)
        runner.iter += 1
        if broken:
            state = hook.resume_state(runner)
            model.judge.weight.grad = None
            hook = GradientStepHook(accumulate=2)
            hook.load_resume_state(state, runner)
    rows = state['gradients']['judge.weight'].tolist()
    return rows, model.judge.weight.tolist()


def test_accumulated_gradients_of_several_processes(tmp_path):
    one, two = run_processes(accumulate_in_two, 2, tmp_path)
    assert one == two
    assert one[0] == [[[1., 2.]], [[2., 2.]]], 'one row for each process'
    # mean of (1, 2) and (2, 2), twice: 1 - 0.1 * (1.5, 2)
    assert one[1][0] == pytest.approx([0.85, 0.8])


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
        self.model = nn.Linear(1, 1)

    def log(self, hook, skipped=False, **losses):
        values = {k: torch.tensor(float(v)) for k, v in losses.items()}
        self.outputs = dict(
            losses=values, loss=sum(values.values()), skipped=skipped)
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
    runner.log(hook, a=10, b=0)
    runner.log(hook, a=20, b=0)
    assert runner.line() == dict(a=15., b=0., loss=15.)
    for _ in range(2):
        runner.log(hook, a=float('nan'), skipped=True)
    assert runner.line() == {}, 'nor those of the line before'


def log_in_two(rank):
    """Sums of two processes, saved after three of four iterations.

    Returns:
        list: The line without a break and the one with it, and the state.
    """
    lines = []
    values = [0.1 + rank, 0.7 - rank, 1 / 3, 3.3]
    for broken in (False, True):
        runner, hook = LogRunner(4), LossLogHook(4)
        for i, value in enumerate(values):
            if broken and i == 3:
                state = hook.resume_state(runner)
                hook = LossLogHook(4)
                hook.load_resume_state(state, runner)
            runner.log(hook, a=value)
        lines.append(runner.line())
    return lines, state


def test_losses_are_means_over_the_processes_and_survive_a_break(tmp_path):
    (one, state), (two, same) = run_processes(log_in_two, 2, tmp_path)
    assert one[0] == one[1] == two[0] == two[1], 'bit for bit'
    # 0.1 + 0.7 and 1.1 - 0.3, with 1/3 + 3.3 in both
    assert one[0]['a'] == pytest.approx((0.8 + 1 / 3 + 3.3) / 4)
    assert torch.equal(state['rows'], same['rows'])
    # in one process: the mean over both
    runner, hook = LogRunner(4), LossLogHook(4)
    hook.load_resume_state(state, runner)
    assert hook.sums['a'].item() == pytest.approx(0.8 + 1 / 3)


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
