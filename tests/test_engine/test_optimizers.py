import pytest
from mmcv import Config
from mmcv.runner import build_optimizer
from mmseg.models import build_segmentor
from torch import nn

from mbos.engine.optimizers import NamedOptimizersConstructor, as_dict
from tests.test_golden import ROOT, STAGE1_CONFIG, STAGE2_CONFIG

GENERATOR = dict(type='AdamW', lr=1e-3)
ADAM = dict(type='Adam', lr=1e-4)


def parts():
    return nn.ModuleDict(
        dict(backbone=nn.Linear(2, 2, bias=False), head=nn.Linear(2, 1),
             judges=nn.Linear(1, 1), empty=nn.ModuleDict()))  # yapf: disable


def settings_by_name(optimizers, model):
    """Name of the optimizer and settings of each parameter that has one."""
    names = {id(p): n for n, p in model.named_parameters()}
    return {
        names[id(p)]: (owner, group)
        for owner, optimizer in as_dict(optimizers).items()
        for group in optimizer.param_groups
        for p in group['params']
    }


def test_each_parameter_is_in_one_optimizer():
    model = parts()
    no_decay = {'head.bias': dict(decay_mult=0.0)}
    generator = dict(
        GENERATOR, weight_decay=0.5, paramwise_cfg=dict(custom_keys=no_decay))
    found = build_optimizer(
        nn.DataParallel(model),
        dict(constructor='NamedOptimizersConstructor', generator=generator,
             judges=ADAM, empty=ADAM))  # yapf: disable
    assert {k: type(v).__name__ for k, v in found.items()} == dict(
        generator='AdamW', judges='Adam')  # yapf: disable
    # names in the whole model match keys of paramwise_cfg
    assert {
        name: (owner, group['weight_decay'])
        for name, (owner, group) in settings_by_name(found, model).items()
    } == {
        'backbone.weight': ('generator', 0.5),
        'head.weight': ('generator', 0.5),
        'head.bias': ('generator', 0.0),
        'judges.weight': ('judges', 0),
        'judges.bias': ('judges', 0)
    }


@pytest.mark.parametrize('cfg, paramwise, words', [
    (dict(judges=ADAM), None, "expected 'generator'"),
    (dict(generator=GENERATOR), dict(), 'paramwise_cfg'),
    (dict(generator=GENERATOR, judge=ADAM), None, 'judge, .* judges'),
])
def test_wrong_configs(cfg, paramwise, words):
    with pytest.raises(ValueError, match=words):
        NamedOptimizersConstructor(cfg, paramwise)(parts())


@pytest.mark.parametrize('path', [STAGE1_CONFIG, STAGE2_CONFIG])
def test_published_weight_decay(path):
    """By hand (docs/method.md, section 4): none of LayerNorms and tables."""
    cfg = Config.fromfile(f'{ROOT}/{path}')
    cfg.model.pretrained = None
    model = build_segmentor(cfg.model)
    settings = settings_by_name(build_optimizer(model, cfg.optimizer), model)
    assert set(settings) == {n for n, _ in model.named_parameters()}
    for name, (owner, group) in settings.items():
        prefix, _, last = name.rpartition('.')
        part, module = name.split('.')[0], model.get_submodule(prefix)
        if part.endswith('discriminators'):
            expected = part, 2e-4, (0.9, 0.99), 0
        else:
            exempt = isinstance(module, nn.LayerNorm) or last in (
                'relative_position_bias_table', 'absolute_pos_embed')
            expected = 'generator', 6e-5, (0.9, 0.999), 0.0 if exempt else 0.01
        assert (owner, group['lr'], group['betas'],
                group['weight_decay']) == expected, name
