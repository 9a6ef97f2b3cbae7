"""Steps and inference: the baseline's numerics, what is measured, goals."""
import json

import pytest
import torch

from benchmarks import baseline
from benchmarks import model as models
from benchmarks import speed
from mbos.accelerate import accelerate


def gradients(model):
    return {
        n: p.grad
        for n, p in model.named_parameters() if p.grad is not None
    }


@pytest.mark.parametrize('stage, tasks', [(1, 3), (2, 3), (2, 1)])
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


def test_goals_and_what_ours_saves():
    """Of the baseline's, of which there must be a number."""
    baseline = dict(seconds=1.0, cpu_seconds=2.0, peak_mb=1e3, libraries_mb=0)
    ours = dict(baseline, seconds=0.59, cpu_seconds=1.2, peak_mb=410.0)
    cases = dict(stage2=dict(baseline=baseline, ours=ours))
    goals = speed.judge(cases)
    assert [list(goal.values()) for goal in goals] == [[
        "stage-2 step, time over the baseline's", 0.59, 0.65, True
    ], ["stage-2 step, peak memory over the baseline's", 0.41, 0.30, False]]
    text = speed.as_text(dict(settings={}, cases=cases, goals=goals))
    assert '| stage2, baseline | 1.00 | 2.00 | 40.0% | 1000 | 59.0% |' in text
    assert speed.judge(dict(stage2=dict(ours=ours))) == []


@pytest.mark.parametrize('case, options', [
    ('stage1', ['--steps', '2']),
    ('stage2', ['--tasks', '2']),
    ('inference', ['--sides', 'ours', 'without_decoder', 'without_all']),
])
def test_speed(case, options, capsys):
    """Every side; a tiny network gains nothing, so --check complains."""
    code = speed.main([
        '--width', 'tiny', '--size', '64', '--inference-size', '64',
        '--threads', '1', '--rounds', '1', '--cases', case, '--json',
        '--check', *options
    ])
    report = json.loads(capsys.readouterr().out)
    sides = report['cases'][case]
    wanted = options[1:] if case == 'inference' else speed.SIDES
    assert tuple(sides) == tuple(wanted)[:2 if case == 'stage1' else 3]
    for found in sides.values():
        assert found['peak_mb'] > found['libraries_mb'] > 50
        assert found['seconds'] > 0 and found['cpu_seconds'] > 0
    assert sides['ours']['flops'] > 1e7 and sides['ours']['floor_seconds'] > 0
    assert code == (not all(goal['reached'] for goal in report['goals']))
