"""Steps and inference: the baseline's numerics, what is measured, goals."""
import json

import pytest
import torch

from benchmarks import accelerators, baseline, common, growth
from benchmarks import model as models
from benchmarks import speed, steps
from mbos.accelerate import ACCELERATORS, accelerate


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
        ours = accelerate(model).inference(image, [meta], True)
    assert torch.allclose(ours, theirs, rtol=1e-4, atol=1e-6)


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


@pytest.mark.parametrize('case', ['stage1', 'stage2', 'inference'])
@pytest.mark.parametrize('side', ['baseline', 'ours', 'low_memory'])
def test_sides_of_the_cases(case, side):
    args = speed.parse_args(
        ['--width', 'tiny', '--size', '64', '--inference-size', '64'])
    work = steps.make_step(speed.settings_of(case, side, args))
    work()
    assert steps.count_flops(work) > 1e7


def test_a_convolution_and_a_product_are_counted():
    weight = torch.randn(4, 3, 3, 3, requires_grad=True)
    x, y = torch.randn(1, 3, 8, 8), torch.randn(5, 6)

    def work():
        torch.nn.functional.conv2d(x, weight, padding=1).sum().backward()
        y @ y.T

    conv = 2 * 4 * 3 * 9 * 64
    assert steps.count_flops(work) == 2 * conv + 2 * 5 * 6 * 5


def test_resident_memory():
    resident = common.resident
    before = resident('VmHWM')
    block = torch.ones(2**24)  # 64 MB
    assert resident('VmRSS') <= resident('VmHWM')
    assert resident('VmHWM') >= before
    assert block.numel() * 4 / 2**20 <= resident('VmRSS')


def test_goals():
    cases = dict(
        stage2=dict(
            baseline=dict(seconds=1.0, peak_mb=1000.0),
            ours=dict(seconds=0.59, peak_mb=410.0),
            low_memory=dict(seconds=0.7, peak_mb=190.0)),
        processes=dict(
            one=dict(images_per_second=6.0), two=dict(images_per_second=7.0)))
    goals = {g['name']: g for g in speed.judge(cases)}
    time = goals["stage-2 step, time over the baseline's"]
    assert time['reached'] and time['value'] == pytest.approx(0.59)
    memory = goals["stage-2 step, peak memory over the baseline's"]
    assert not memory['reached'] and memory['value'] == pytest.approx(0.41)
    low = goals['low-memory stage 2, time over our own']
    assert low['reached'] and low['value'] == pytest.approx(0.7 / 0.59)
    two = goals["two processes, images per second over one's"]
    assert two['reached'] and not two['at_most']
    assert not any('stage-1' in name for name in goals)
    del cases['stage2']['baseline']
    names = [goal['name'] for goal in speed.judge(cases)]
    assert names == ['low-memory stage 2, time over our own', two['name']]


def test_cases_and_sides():
    parse = speed.parse_args
    assert parse(['--stage',
                  '1']).cases == ['stage1', 'inference', 'processes']
    assert 'processes' not in parse(['--device', 'cuda']).cases
    with pytest.raises(SystemExit):
        parse(['--sides', 'ours', '--check'])


def test_command(capsys):
    """A tiny network gains nothing, so --check complains, by name."""
    code = speed.main([
        '--width', 'tiny', '--size', '64', '--steps', '1', '--cases', 'stage1',
        '--threads', '1', '--json', '--check'
    ])
    out, err = capsys.readouterr()
    report = json.loads(out)
    sides = report['cases']['stage1']
    for side in ('baseline', 'ours'):
        assert sides[side]['peak_mb'] > sides[side]['libraries_mb'] > 50
        assert sides[side]['seconds'] > 0 and sides[side]['cpu_seconds'] > 0
    ours = sides['ours']
    assert ours['flops'] > 1e8
    assert ours['floor'] == pytest.approx(ours['flops'] / ours['matmul_rate'] /
                                          ours['seconds'])
    goal, = report['goals']
    ratio = ours['seconds'] / sides['baseline']['seconds']
    assert goal['value'] == pytest.approx(ratio)
    assert code == (0 if ratio <= 0.8 else 1)
    assert ('missed: stage-1 step' in err) == (ratio > 0.8)
    assert f'| stage1, ours | {ours["seconds"]:.2f} |' in speed.as_text(report)


def test_growth(monkeypatch, capsys):
    monkeypatch.setattr(growth, 'SERIES', dict(tasks=(1, 2)))
    growth.main(['--size', '64', '--width', 'tiny'])
    lines = capsys.readouterr().out.strip().splitlines()
    one, two = (line.strip('| ').split(' | ') for line in lines[-2:])
    assert (one[0], two[0]) == ('1', '2')
    assert float(one[2]) > float(one[3]) > 0


def test_a_process_that_dies_is_named(capfd):
    with pytest.raises(
            speed.BenchmarkError,
            match='The process of "stage1, ours" ended with code 1'):
        speed.main([
            '--width', 'tiny', '--size', '64', '--cases', 'stage1',
            '--precision', 'half'
        ])
    assert "Unknown precision 'half'" in capfd.readouterr().err


def test_what_an_accelerator_is_worth(capsys):
    """Every one of them in every case; --json has what the table has."""
    accelerators.main([
        '--width', 'tiny', '--size', '64', '--inference-size', '64',
        '--rounds', '1', '--datasets', '1', '--threads', '1', '--json'
    ])
    rows = json.loads(capsys.readouterr().out)
    ways = {
        *ACCELERATORS, accelerators.ALLOCATOR, accelerators.NOTHING,
        accelerators.ALL, accelerators.RELEASE
    }
    for case in ('stage2', 'inference'):
        assert {row['way'] for row in rows if row['case'] == case} == ways
    assert all(row['seconds'] > 0 and row['peak_mb'] > 50 for row in rows)
    same = next(row for row in rows if row['way'] == accelerators.NOTHING)
    assert same['saved'] == same['memory_saved'] == 0


def test_share_that_an_accelerator_saves():
    fast = [dict(seconds=1.0, peak_mb=900), dict(seconds=4.0, peak_mb=900)]
    slow = [dict(seconds=2.0, peak_mb=1000), dict(seconds=5.0, peak_mb=1000)]
    found = accelerators.compare(fast, slow)
    assert found['saved'] == pytest.approx(1 - (0.5 + 0.8) / 2)
    assert found['memory_saved'] == pytest.approx(0.1)
    rows = [dict(way='decoder', case='stage2', **found)]
    args = accelerators.parse_args(['--rounds', '2'])
    assert '| stage2: decoder | 3.50 | 35.0% | 1000 | 10.0% | yes |' in (
        accelerators.as_text(rows, args))
    rows[0].update(saved=0.04, memory_saved=0.04)
    assert accelerators.as_text(rows, args).endswith('| no |')
