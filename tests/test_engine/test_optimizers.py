import pytest
import torch
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
        dict(
            backbone=nn.Linear(2, 2),
            head=nn.Linear(2, 1),
            judges=nn.Linear(1, 1),
            empty=nn.ModuleDict()))


def settings_by_name(optimizer, model):
    """Settings of each parameter that an optimizer has."""
    names = {id(p): n for n, p in model.named_parameters()}
    return {
        names[id(p)]: group
        for group in optimizer.param_groups
        for p in group['params']
    }


def test_each_parameter_is_in_one_optimizer():
    model = parts()
    found = build_optimizer(
        nn.DataParallel(model),
        dict(
            constructor='NamedOptimizersConstructor',
            generator=dict(
                GENERATOR,
                weight_decay=0.5,
                paramwise_cfg=dict(
                    custom_keys={'head.bias': dict(decay_mult=0.0)})),
            judges=ADAM,
            empty=ADAM))
    assert {k: type(v) for k, v in found.items()} == dict(
        generator=torch.optim.AdamW, judges=torch.optim.Adam)  # yapf: disable
    assert set(settings_by_name(found['judges'],
                                model)) == {'judges.weight', 'judges.bias'}
    generator = settings_by_name(found['generator'], model)
    # names in the whole model match keys of paramwise_cfg
    assert {name: group['weight_decay'] for name, group in generator.items()
            } == {'backbone.weight': 0.5, 'backbone.bias': 0.5,
                  'head.weight': 0.5, 'head.bias': 0.0}  # yapf: disable


@pytest.mark.parametrize('cfg, paramwise, words', [
    (dict(judges=ADAM), None, "expected 'generator'"),
    (dict(generator=GENERATOR), dict(), 'paramwise_cfg'),
    (dict(generator=GENERATOR, judge=ADAM), None, 'has judge, .* judges'),
])
def test_wrong_configs(cfg, paramwise, words):
    with pytest.raises(ValueError, match=words):
        NamedOptimizersConstructor(cfg, paramwise)(parts())


def is_without_decay(name, module):
    """By hand (docs/method.md, section 4)."""
    return isinstance(module, nn.LayerNorm) or name.endswith(
        ('relative_position_bias_table', 'absolute_pos_embed'))


@pytest.mark.parametrize('path', [STAGE1_CONFIG, STAGE2_CONFIG])
def test_published_weight_decay(path):
    cfg = Config.fromfile(f'{ROOT}/{path}')
    cfg.model.pretrained = None
    model = build_segmentor(cfg.model)
    groups = {
        id(p): (name, group)
        for name, optimizer in as_dict(build_optimizer(model,
                                                       cfg.optimizer)).items()
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
