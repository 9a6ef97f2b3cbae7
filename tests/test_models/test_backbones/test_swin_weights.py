"""Swin weights of every layout give the features that they should give."""
import logging
import re

import pytest
import timm
import torch
from mmseg.models.backbones import SwinTransformer
from torch import nn

from mbos.models.backbones.weights import load_backbone_weights

EMBED, DEPTHS, HEADS, WINDOW = 8, (2, 1, 2), (1, 2, 4), 7


def make_backbone(window=WINDOW, heads=HEADS):
    """A small SwinTransformer of mmseg with bare outputs."""
    backbone = SwinTransformer(
        embed_dims=EMBED,
        depths=DEPTHS,
        num_heads=heads,
        strides=(4, 2, 2),
        window_size=window,
        out_indices=(0, 1, 2),
        drop_path_rate=0.)
    backbone.eval()  # returns nothing in mmseg
    return backbone


@pytest.fixture
def reference():
    """timm's model of the same size, with every weight random."""
    torch.manual_seed(0)
    model = timm.models.swin_transformer.SwinTransformer(
        img_size=224,
        embed_dim=EMBED,
        depths=DEPTHS,
        num_heads=HEADS,
        window_size=WINDOW,
        num_classes=3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.3)
    return model.eval()


def timm_features(model, image):
    """Maps after each stage, (N, C, H, W)."""
    x, maps = model.patch_embed(image), []
    for layer in model.layers:
        x = layer(x)
        maps.append(x.permute(0, 3, 1, 2))
    return maps


def to_official(state):
    """Name timm's weights as the authors' file does, by its own rule."""
    named = {}
    for key, value in state.items():
        key = re.sub(r'layers\.(\d)\.downsample',
                     lambda m: f'layers.{int(m[1]) - 1}.downsample', key)
        named[key.replace('head.fc.', 'head.')] = value
    named['layers.0.blocks.0.attn.relative_position_index'] = torch.zeros(
        49, 49, dtype=torch.long)
    named['layers.0.blocks.1.attn_mask'] = torch.zeros(64, 49, 49)
    return named


def saved(state, folder):
    torch.save(dict(model=state), folder / 'swin.pth')
    return str(folder / 'swin.pth')


@pytest.mark.parametrize('layout, rename', [
    ('timm', dict),
    ('official', to_official),
])
def test_same_features(reference, tmp_path, caplog, layout, rename):
    caplog.set_level(logging.INFO)
    backbone = make_backbone()
    path = saved(rename(reference.state_dict()), tmp_path)
    assert load_backbone_weights(backbone, path) == [
        f'norm{i}.{kind}' for i in range(3) for kind in ('weight', 'bias')
    ]
    for i in range(3):
        setattr(backbone, f'norm{i}', nn.Identity())
    image = torch.randn(1, 3, 224, 224)
    with torch.no_grad():
        maps, expected = backbone(image), timm_features(reference, image)
    assert [m.shape[1] for m in maps] == [8, 16, 32]
    for one, other in zip(maps, expected):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)
    assert f'in the {layout} layout' in caplog.text
    assert 'norm.bias' in caplog.text, 'not used'


def test_bias_table_follows_the_window(reference, tmp_path):
    state = reference.state_dict()
    name = 'layers.0.blocks.0.attn.relative_position_bias_table'
    state[name] = torch.full_like(state[name], 0.25)
    backbone = make_backbone(window=4)
    path = saved(state, tmp_path)
    load_backbone_weights(backbone, path)
    attention = backbone.stages[0].blocks[0].attn.w_msa
    torch.testing.assert_close(attention.relative_position_bias_table,
                               torch.full((49, 1), 0.25))
    with pytest.raises(ValueError, match=r'shape \(169, 1\), needed \(49, 2'):
        load_backbone_weights(make_backbone(4, (2, 2, 4)), path)
    state[name] = torch.zeros(7, 1)
    with pytest.raises(ValueError, match=r'shape \(7, 1\), needed \(49, 1'):
        load_backbone_weights(backbone, saved(state, tmp_path))
