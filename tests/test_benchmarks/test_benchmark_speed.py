"""Steps and inference: the baseline's numerics, what is measured, goals."""
import json

import pytest
import torch

from benchmarks import accelerators, baseline, growth
from benchmarks import model as models
from benchmarks import speed, steps
from mbos.accelerate import accelerate

TINY = ('--width', 'tiny', '--size', '64', '--inference-size', '64', '--steps',
        '1', '--threads', '1')


def gradients(model):
    return {
        n: p.grad
        for n, p in model.named_parameters() if p.grad is not None
    }


@pytest.mark.parametrize('stage, tasks', [(1, 3), (2, 3), (2, 2), (2, 1)])
def test_baseline_computes_what_the_library_does(stage, tasks):
    cfg = models.stage_config(stage, 'tiny', tasks, noise=False)
    batch = models.make_batch(cfg, stage, 64, images=2)
    ours = accelerate(models.build_network(cfg))
    theirs = models.build_network(cfg)
    losses = ours.train_step(batch, backward=lambda x: x.backward())['losses']
    expected = baseline.ReleaseSchedule(theirs, {}).gradients(batch)
    assert set(expected) == {k for k in losses if 'loss' in k}
    for name, value in expected.items():
        assert losses[name].item() == pytest.approx(value.item(), rel=1e-4)
    # an output that no loss reads has no gradient here and there
    found, wanted = gradients(ours), gradients(theirs)
    assert found.keys() == wanted.keys()
    floor = 1e-7 * max(g.norm() for g in wanted.values())
    for name, gradient in wanted.items():
        error = (found[name] - gradient).norm()
        assert error <= 1e-4 * gradient.norm() + floor, name


def test_baseline_predicts_what_the_library_does():
    cfg = models.stage_config(2, 'tiny')
    model = models.build_network(cfg).eval()
    image = torch.randn(1, 3, 96, 64)
    meta = dict(ori_shape=(96, 64, 3), img_shape=(96, 64, 3))
    with torch.no_grad():
        theirs = baseline.ReleaseSchedule(model, {}).predict(image)
        ours, = accelerate(model).simple_test(image, [meta])
    ours = torch.cat([torch.from_numpy(prob) for prob in ours.values()])
    assert torch.allclose(ours, theirs[0], rtol=1e-4, atol=1e-6)


def test_baseline_updates_discriminators_after_the_generator():
    """On predictions from before the update, as one summed loss does."""
    cfg = models.stage_config(2, 'tiny', noise=False)
    batch = models.make_batch(cfg, 2, 64)
    states = []
    for kind in ('ours', 'baseline'):
        model = models.build_network(cfg)
        optimizers = models.build_optimizers(model, cfg)
        if kind == 'baseline':
            baseline.ReleaseSchedule(model, optimizers).step(batch)
        else:
            model.train_step(batch, backward=lambda x: x.backward())
            for optimizer in optimizers.values():
                optimizer.step()
        states.append(model.discriminators.state_dict())
    for name, value in states[0].items():
        # Adam's first step has the gradient's sign
        wrong = (value - states[1][name]).abs() > 1e-5
        assert wrong.float().mean() < 0.02, name


def test_a_convolution_and_a_product_are_counted():
    weight = torch.randn(4, 3, 3, 3, requires_grad=True)
    x, y = torch.randn(1, 3, 8, 8), torch.randn(5, 6)

    def work():
        torch.nn.functional.conv2d(x, weight, padding=1).sum().backward()
        y @ y.T

    conv = 2 * 4 * 3 * 9 * 64
    assert steps.count_flops(work) == 2 * conv + 2 * 5 * 6 * 5


def test_goals():
    stage2 = dict(
        baseline=dict(seconds=1.0, peak_mb=1000.0),
        ours=dict(seconds=0.59, peak_mb=410.0))
    goals = [g.values() for g in speed.judge(dict(stage2=stage2))]
    assert list(map(list, goals)) == [[
        "stage-2 step, time over the baseline's", 0.59, 0.65, True
    ], ["stage-2 step, peak memory over the baseline's", 0.41, 0.30, False]]
    del stage2['baseline']
    assert speed.judge(dict(stage2=stage2)) == []


@pytest.mark.parametrize('case', ['stage1', 'stage2', 'inference'])
def test_speed(case, capsys):
    """Every side; a tiny network gains nothing, so --check complains."""
    code = speed.main([*TINY, '--cases', case, '--json', '--check'])
    report = json.loads(capsys.readouterr().out)
    sides = report['cases'][case]
    assert tuple(sides) == speed.SIDES[case]
    for found in sides.values():
        assert found['peak_mb'] > found['libraries_mb'] > 50
        assert found['seconds'] > 0 and found['cpu_seconds'] > 0
    ours = sides['ours']
    assert ours['flops'] > 1e7 and ours['floor_seconds'] > 0
    reached = [goal['reached'] for goal in report['goals']]
    assert reached and code == (not all(reached))
    assert f'| {case}, ours | {ours["seconds"]:.2f} |' in speed.as_text(report)


def test_an_error_in_a_process_is_the_benchmarks(capfd):
    with pytest.raises(ValueError, match="Unknown precision 'half'"):
        speed.main([*TINY, '--cases', 'stage1', '--precision', 'half'])


def test_growth(monkeypatch, capsys):
    monkeypatch.setattr(growth, 'SERIES', dict(tasks=('tasks', (1, 2))))
    growth.main(TINY)
    lines = capsys.readouterr().out.strip().splitlines()
    one, two = (line.strip('| ').split(' | ') for line in lines[-2:])
    assert (one[0], two[0]) == ('1', '2')
    assert float(one[2]) > float(one[3]) > 0


def test_what_an_accelerator_is_worth(monkeypatch, capsys):
    ways = ('nothing', 'decoder', "the allocator's setting",
            "the release's schedule")
    monkeypatch.setattr(accelerators, 'WAYS',
                        {way: accelerators.WAYS[way]
                         for way in ways})
    accelerators.main([*TINY, '--rounds', '1', '--cases', 'inference'])
    lines = capsys.readouterr().out.splitlines()[-len(ways):]
    assert [line.split(' | ')[0]
            for line in lines] == [f'| inference: {way}' for way in ways]
    assert ' | 0.0% | ' in lines[0]


def test_share_that_an_accelerator_saves():
    fast = [dict(cpu_seconds=s, peak_mb=900) for s in (1.0, 4.0)]
    slow = [dict(cpu_seconds=s, peak_mb=1000) for s in (2.0, 5.0)]
    row = accelerators.table_row('stage2', 'decoder', fast, slow)
    assert row == ('stage2: decoder', '3.50', '35.0%', '1000', '10.0%', 'yes')
    row = accelerators.table_row('stage2', 'decoder', slow, slow)
    assert row[-1] == 'no'
