"""A loss, a gradient or a weight that is not finite ends the run everywhere.
"""
import types

import pytest
import torch
from mmcv.parallel import DataContainer
from torch import nn

from mbos.engine.hooks import GradientStepHook, check_finite_weights
from tests.processes import run_processes

NAN, INF = float('nan'), float('inf')


def make_runner(*names):
    model = nn.ParameterDict(dict(w=torch.ones(2)))
    metas = [[dict(filename=name) for name in names]]
    return types.SimpleNamespace(
        model=model, optimizer=torch.optim.SGD(model.parameters(), lr=1.0),
        iter=6, max_iters=100, _max_iters=100, data_batch=dict(
            img_metas=DataContainer(metas, cpu_only=True)))  # yapf: disable


def step(runner, hook, gradient=1.0, **losses):
    """One iteration with given losses and gradients; returns the weights."""
    values = {k: torch.tensor(float(v)) for k, v in losses.items()}
    runner.outputs = dict(losses=values, loss=sum(values.values()))
    hook.before_train_iter(runner)
    runner.model.w.grad = torch.tensor([1.0, gradient])
    hook.after_train_iter(runner)
    runner.iter += 1
    return runner.model.w.tolist()


@pytest.mark.parametrize('value', [NAN, INF, -INF])
@pytest.mark.parametrize('of_loss, said', [
    (True, 'the loss bad. Images: a.jpg, b.jpg.'),
    (False, 'gradients, while all losses are finite.'),
])
def test_stops_before_the_step_and_names_all(value, of_loss, said):
    runner, hook = make_runner('a.jpg', 'b.jpg'), GradientStepHook()
    # large ones are no fault: their squares overflow, they do not
    assert step(runner, hook, 1e30, good=3e38)[1] == pytest.approx(-1e30)
    before = runner.model.w.tolist()
    with pytest.raises(FloatingPointError) as caught:
        if of_loss:
            step(runner, hook, good=1, bad=value)
        step(runner, hook, value, good=1)
    assert f'iteration 8: {said}' in str(caught.value)
    assert runner.model.w.tolist() == before, 'not stepped'


def test_overflow_of_scaled_gradients():
    """No fault: the scaler skips the step and lowers the scale; but not for
    ever."""
    runner, hook = make_runner(), GradientStepHook(loss_scaling=True)

    def train(gradient):
        runner.outputs = dict(losses={}, loss=torch.ones(()))
        hook.before_train_iter(runner)
        hook.backward((runner.model.w * torch.tensor([1., gradient])).sum())
        hook.after_train_iter(runner)

    train(INF)
    assert runner.model.w.tolist() == [1., 1.]
    train(1.)
    assert hook.scaler.get_scale() == 2.**15
    assert runner.model.w.tolist() == [0., 0.]
    with pytest.raises(FloatingPointError, match='half precision'):
        for _ in range(20):
            train(INF)


def fault_in_one(rank):
    """Only process 1 has a bad loss; gradients are fine in both."""
    runner = make_runner(f'image_of_{rank}.jpg')
    with pytest.raises(FloatingPointError) as caught:
        step(runner, GradientStepHook(), bad=INF if rank else 1., good=2)
    return str(caught.value), runner.model.w.tolist()


def test_processes_act_alike(tmp_path):
    found = run_processes(fault_in_one, 2, tmp_path)
    assert found[0] == found[1]
    said, weights = found[0]
    assert 'the loss bad. Images: image_of_1.jpg.' in said
    assert weights == [1., 1.]


@pytest.mark.parametrize('value', [NAN, INF, -INF])
def test_broken_weights_are_refused(value):
    model = nn.ParameterDict(dict(a=torch.zeros(3), b=torch.full((7, ), 3e38)))
    check_finite_weights(model, 1)
    model.b.data[6] = value
    with pytest.raises(FloatingPointError, match='iteration 5: b'):
        check_finite_weights(model, 5)
