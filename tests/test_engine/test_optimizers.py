import pytest
import torch
from mmcv import Config
from mmcv.runner import build_optimizer
from mmseg.models import build_segmentor
from torch import nn

from mbos.engine.optimizers import (NamedOptimizersConstructor, as_dict,
                                    settings_of, why_not_loadable,
                                    with_new_settings)
from tests.test_golden import ROOT, STAGE1_CONFIG, STAGE2_CONFIG

GENERATOR = dict(type='AdamW', lr=1e-3)
ADAM = dict(type='Adam', lr=1e-4)


def parts():
    return nn.ModuleDict(
        dict(
            backbone=nn.Linear(2, 2),
            head=nn.Linear(2, 1),
            judges=nn.Linear(1, 1),
            empty=nn.ModuleDict()))


def held(optimizer, model):
    names = {id(p): n for n, p in model.named_parameters()}
    return {
        names[id(p)]
        for group in optimizer.param_groups
        for p in group['params']
    }


def test_each_parameter_is_in_one_optimizer():
    model = parts()
    found = build_optimizer(
        model,
        dict(
            constructor='NamedOptimizersConstructor',
            generator=GENERATOR,
            judges=ADAM,
            empty=ADAM))
    assert {
        k: type(v)
        for k, v in found.items()
    } == dict(
        generator=torch.optim.AdamW, judges=torch.optim.Adam)
    assert held(found['judges'], model) == {'judges.weight', 'judges.bias'}
    assert held(found['generator'], model) == {
        'backbone.weight', 'backbone.bias', 'head.weight', 'head.bias'
    }


def test_paramwise_keys_match_names_in_the_whole_model():
    model = parts()
    generator = dict(
        GENERATOR,
        weight_decay=0.5,
        paramwise_cfg=dict(custom_keys={'head.bias': dict(decay_mult=0.0)}))
    found = NamedOptimizersConstructor(dict(generator=generator, judges=ADAM))(
        nn.DataParallel(model))
    decay = {
        id(p): group['weight_decay']
        for group in found['generator'].param_groups
        for p in group['params']
    }
    assert decay[id(model.head.bias)] == 0
    assert decay[id(model.head.weight)] == 0.5


@pytest.mark.parametrize('cfg, paramwise, words', [
    (dict(judges=ADAM), None, "needs 'generator'"),
    (dict(generator=GENERATOR), dict(), 'single optimizers'),
    (dict(generator=GENERATOR, judge=ADAM), None, r"called \['judge'\]"),
])
def test_wrong_configs(cfg, paramwise, words):
    with pytest.raises(ValueError, match=words):
        NamedOptimizersConstructor(cfg, paramwise)(parts())


def test_as_dict():
    optimizer = torch.optim.SGD(parts().parameters(), lr=1)
    assert as_dict(optimizer) == dict(generator=optimizer)
    assert as_dict(dict(a=optimizer)) == dict(a=optimizer)


def is_without_decay(name, module):
    """By hand (docs/method.md, section 4)."""
    return isinstance(module, nn.LayerNorm) or name.endswith(
        ('relative_position_bias_table', 'absolute_pos_embed'))


@pytest.mark.parametrize('path', [STAGE1_CONFIG, STAGE2_CONFIG])
def test_published_weight_decay(path):
    cfg = Config.fromfile(f'{ROOT}/{path}')
    cfg.model.pretrained = None
    model = build_segmentor(cfg.model)
    optimizers = as_dict(build_optimizer(model, cfg.optimizer))
    groups = {
        id(p): (name, group)
        for name, optimizer in optimizers.items()
        for group in optimizer.param_groups
        for p in group['params']
    }
    seen = dict(groups)
    decayed_norms, biases = 0, 0
    for prefix, module in model.named_modules():
        for name, parameter in module.named_parameters(recurse=False):
            owner, group = groups[id(parameter)]
            seen.pop(id(parameter), None)
            part = prefix.split('.')[0]
            is_judge = part.endswith('discriminators')
            assert owner == (part if is_judge else 'generator')
            if is_judge:
                assert group['lr'] == 2e-4 and group['betas'] == (0.9, 0.99)
                assert group['weight_decay'] == 0
                continue
            expected = 0 if is_without_decay(name, module) else 0.01
            assert group['weight_decay'] == expected, f'{prefix}.{name}'
            assert group['lr'] == 6e-5 and group['betas'] == (0.9, 0.999)
            decayed_norms += isinstance(module, nn.GroupNorm)
            biases += name == 'bias' and expected > 0
    assert not seen and decayed_norms and biases


def sgd(**settings):
    return torch.optim.SGD([nn.Parameter(torch.zeros(1))],
                           **dict(dict(lr=0.1, momentum=0.9), **settings))


def test_settings_that_the_config_changed_are_the_configs():
    then = settings_of(sgd())
    stored = sgd().state_dict()
    # a schedule has moved the rate, a hook the momentum
    stored['param_groups'][0].update(
        lr=0.01, initial_lr=0.1, momentum=0.5, initial_momentum=0.9)
    same, = with_new_settings(stored, then, settings_of(sgd()))['param_groups']
    assert same == stored['param_groups'][0]
    now = settings_of(sgd(lr=0.3, weight_decay=0.2))
    group, = with_new_settings(stored, then, now)['param_groups']
    assert group['lr'] == group['initial_lr'] == 0.3
    assert group['weight_decay'] == 0.2
    assert group['momentum'] == 0.5 and group['initial_momentum'] == 0.9
    now = settings_of(sgd(momentum=0.7))
    group, = with_new_settings(stored, then, now)['param_groups']
    assert group['momentum'] == 0.7 and 'initial_momentum' not in group
    assert group['lr'] == 0.01
    assert stored['param_groups'][0]['momentum'] == 0.5, 'left alone'


def test_settings_of_a_checkpoint_that_does_not_hold_the_first_ones():
    stored = sgd().state_dict()
    stored['param_groups'][0].update(lr=0.01, initial_lr=0.1)
    for lr, expected in ((0.1, 0.01), (0.2, 0.2)):
        group, = with_new_settings(stored, None,
                                   settings_of(sgd(lr=lr)))['param_groups']
        assert group['lr'] == expected


def test_states_that_do_not_fit():
    stored = sgd().state_dict()
    assert why_not_loadable(sgd(), stored) is None
    two = torch.optim.SGD(
        [dict(params=[nn.Parameter(torch.zeros(1))]) for _ in range(2)],
        lr=0.1)
    assert '1 group(s)' in why_not_loadable(two, stored)
    assert 'not the state' in why_not_loadable(two, dict(state={}))
    adam = torch.optim.Adam([nn.Parameter(torch.zeros(1))], amsgrad=True)
    assert 'amsgrad' in why_not_loadable(adam, stored)
