"""Mixed precision: as close to float32 as its digits allow."""
import pytest
import torch

from mbos.engine.hooks import GradientStepHook
from tests.test_reliability.runs import assert_same_content
from tests.utils import TASKS, make_meta, stack_planes, tiny_model

CLASSES = dict(vessel=1, lesion=4, odoc=2)


def network(precision):
    torch.manual_seed(0)
    model = tiny_model(
        window=8,
        adversarial=True,
        discriminator=dict(type='PatchDiscriminator', channels=4),
        train_cfg=dict(images_per_pass=2, precision=precision))
    model.init_weights()
    return model.train(), GradientStepHook(loss_scaling=precision == 'fp16')


def batch():
    rng = torch.Generator().manual_seed(1)
    labels = [
        stack_planes(
            TASKS, 32, 32, **{
                task:
                torch.randint(CLASSES[task] + 1, (32, 32),
                              generator=rng).numpy()
            }) for task in TASKS
    ]
    return dict(
        img=torch.randn(3, 3, 32, 32, generator=rng),
        img_metas=[make_meta(f'{t}_set', truth=[t]) for t in TASKS],
        labels=torch.stack(labels))


def step(precision):
    """Losses, gradients, and the dtypes of three layers."""
    (model, hook), dtypes = network(precision), {}
    scale = hook.scaler.get_scale()
    for name in ('backbone.patch_embed.projection',
                 'decode_head.cross_task_attention.block.q',
                 'discriminators.vessel.convs.0'):
        model.get_submodule(name).register_forward_hook(
            lambda module, args, out, name=name: dtypes.update(
                {name: out.dtype}))
    losses = model.train_step(batch(), backward=hook.backward)['losses']
    gradients = {n: p.grad / scale for n, p in model.named_parameters()}
    return losses, gradients, list(dtypes.values())


@pytest.mark.parametrize('precision, dtype, tolerance', [
    ('bf16', torch.bfloat16, 0.3),
    ('fp16', torch.float16, 0.15),
])
def test_mixed_precision(precision, dtype, tolerance):
    losses, gradients, dtypes = step(precision)
    expected, exact, _ = step('float32')
    assert dtypes == [dtype, dtype, torch.float32]
    assert all(v.dtype == torch.float32 for v in losses.values())
    for name, value in losses.items():
        wanted = expected[name].item()
        assert value.item() == pytest.approx(wanted, rel=0.02, abs=1e-4)
    for name, gradient in exact.items():
        error = (gradients[name] - gradient).norm()
        assert error <= tolerance * gradient.norm(), name


def mean_loss(precision, steps=200, counted=50):
    """Mean of the summed loss over the last steps of a short run."""
    model, hook = network(precision)
    parts = {True: [], False: []}
    for name, parameter in model.named_parameters():
        parts['discriminators' in name].append(parameter)
    optimizers = [
        torch.optim.AdamW(part, lr=1e-3, fused=True)
        for part in parts.values()
    ]
    data, losses = batch(), []
    for _ in range(steps):
        outputs = model.train_step(data, backward=hook.backward)
        for optimizer in optimizers:
            hook.scaler.step(optimizer)
            optimizer.zero_grad()
        hook.scaler.update()
        losses.append(outputs['loss'])
    return torch.stack(losses[-counted:]).mean().item()


@pytest.mark.slow
def test_runs_in_mixed_precision_learn_alike():
    """About two minutes: python -m pytest -m slow -s tests/test_engine."""
    exact = mean_loss('float32')
    for precision in ('bf16', 'fp16'):
        found = mean_loss(precision)
        print(f'{precision}: {found:.4f}, float32: {exact:.4f}')
        assert found == pytest.approx(exact, rel=0.05)


def test_loss_scale_survives_a_resume(runs, tool):
    arguments = ('train.py', runs.config1, '--cfg-options', 'precision=fp16',
                 '--work-dir')
    assert tool(*arguments, 'one') is None
    assert tool(*arguments, 'two', '--resume-from', 'one/iter_2.pth') is None
    one, two = (
        torch.load(f'{work}/iter_4.pth', weights_only=True)
        for work in ('one', 'two'))
    assert_same_content(one['state_dict'], two['state_dict'])
    assert_same_content(one['progress'], two['progress'])
    scaler = two['progress']['hooks']['GradientStepHook']['scaler']
    assert scaler['_growth_tracker'] == 4
