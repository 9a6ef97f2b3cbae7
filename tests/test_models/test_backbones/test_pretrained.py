"""Swin weights of every layout give the features that they should give."""
import logging
import re
from fractions import Fraction

import pytest
import torch
from mmseg.models.backbones import SwinTransformer
from torch import nn

from mbos.models.backbones.pretrained import (load_swin_into,
                                              load_swin_weights,
                                              require_pretrained,
                                              save_swin_weights, swin_layout)

timm = pytest.importorskip('timm')
EMBED, DEPTHS, HEADS, WINDOW = 8, (2, 1, 2), (1, 2, 4), 7


def make_backbone(window=WINDOW, embed=EMBED):
    """A small SwinTransformer of mmseg with bare outputs."""
    backbone = SwinTransformer(
        embed_dims=embed,
        depths=DEPTHS,
        num_heads=HEADS,
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
    return {'model': named}


def assert_same_features(backbone, reference, channels=(8, 16, 32)):
    for i in range(len(channels)):
        setattr(backbone, f'norm{i}', nn.Identity())
    image = torch.randn(1, 3, *reference.patch_embed.img_size)
    with torch.no_grad():
        maps, expected = backbone(image), timm_features(reference, image)
    assert tuple(m.shape[1] for m in maps) == channels
    for one, other in zip(maps, expected):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_timm_layout_gives_same_features(reference):
    state = reference.state_dict()
    assert swin_layout(state) == 'timm'
    backbone = make_backbone()
    unset = load_swin_into(backbone, state)
    assert unset == [
        f'norm{i}.{kind}' for i in range(3) for kind in ('weight', 'bias')
    ]
    assert_same_features(backbone, reference)


def test_official_layout_gives_same_features(reference, tmp_path):
    path = tmp_path / 'official.pth'
    torch.save(to_official(reference.state_dict()), path)
    assert swin_layout(torch.load(path)['model']) == 'official'
    backbone = make_backbone()
    load_swin_into(backbone, path)
    assert_same_features(backbone, reference)


def test_published_size_gives_same_features():
    """The Swin-T of the configs, as timm has it.

    At twice its size: a map as small as one window, the last one at 224, is
    shifted by mmseg and, as for classification, not by timm.
    """
    torch.manual_seed(0)
    model = timm.create_model('swin_tiny_patch4_window7_224', img_size=448)
    model.eval()
    backbone = SwinTransformer(drop_path_rate=0.3)
    backbone.eval()
    load_swin_into(backbone, model.state_dict())
    assert_same_features(backbone, model, channels=(96, 192, 384, 768))


@pytest.mark.parametrize('prefix', ['', 'backbone.', 'module.backbone.'])
def test_mmseg_layout_is_taken_as_it_is(prefix, tmp_path):
    backbone = make_backbone()
    state = {prefix + k: v for k, v in backbone.state_dict().items()}
    if prefix:
        state['decode_head.conv_seg.weight'] = torch.zeros(1)
    path = tmp_path / 'mmseg.pth'
    torch.save(dict(state_dict=state, meta=dict(epoch=1)), path)
    loaded = load_swin_weights(path)
    own = {
        k: v
        for k, v in backbone.state_dict().items()
        if not k.endswith('relative_position_index')
    }
    assert set(loaded) == set(own)
    assert all(torch.equal(loaded[k], v) for k, v in own.items())


def test_conversion_is_stable_under_saving(reference, tmp_path):
    first = load_swin_weights(reference.state_dict())
    path = str(tmp_path / 'new' / 'swin.pth')
    save_swin_weights(first, path)
    second = load_swin_weights(path)
    assert list(first) == list(second)
    assert all(torch.equal(first[k], second[k]) for k in first)
    assert [p.name for p in (tmp_path / 'new').iterdir()] == ['swin.pth']


def test_merging_order_by_hand(reference):
    """Inputs are named pixel.channel, C = 8 channels in the first merge."""
    state = reference.state_dict()
    state['layers.1.downsample.norm.weight'] = torch.tensor(
        [float(10 * pixel + c) for pixel in range(4) for c in range(8)])
    loaded = load_swin_weights(state)
    # Unfolded: channel 0 at pixels (0,0), (0,1), (1,0), (1,1), which stand
    # 0th, 2nd, 1st and 3rd among the concatenated ones; then channel 1.
    merged = loaded['stages.0.downsample.norm.weight']
    assert merged[:8].tolist() == [0, 20, 10, 30, 1, 21, 11, 31]


def test_dropped_keys_are_listed(reference, caplog):
    with caplog.at_level(
            logging.INFO, logger='mbos.models.backbones.pretrained'):
        loaded = load_swin_weights(to_official(reference.state_dict()))
    for key in ('head.weight', 'norm.bias', 'layers.0.blocks.1.attn_mask'):
        assert key in caplog.text
        assert key not in loaded
    assert 'official' in caplog.text


@pytest.mark.parametrize('key, name', [
    ('layers.1.blocks.0.mlp.fc1.bias',
     'stages.1.blocks.0.ffn.layers.0.0.bias'),
    ('layers.2.downsample.reduction.weight',
     'stages.1.downsample.reduction.weight'),
    ('patch_embed.proj.weight', 'patch_embed.projection.weight'),
])
def test_missing_weights_are_named(reference, key, name):
    state = reference.state_dict()
    del state[key]
    with pytest.raises(ValueError, match=re.escape(name)):
        load_swin_weights(state)


def test_other_variant_does_not_fit(reference):
    with pytest.raises(ValueError, match='does not fit') as caught:
        load_swin_into(make_backbone(embed=16), reference.state_dict())
    assert 'patch_embed.projection.weight (8, 3, 4, 4), needed ' \
        '(16, 3, 4, 4)' in str(caught.value)


def test_bias_table_follows_the_window(reference):
    state = reference.state_dict()
    name = 'layers.0.blocks.0.attn.relative_position_bias_table'
    state[name] = torch.full_like(state[name], 0.25)
    backbone = make_backbone(window=4)
    load_swin_into(backbone, state)
    table = backbone.stages[0].blocks[
        0].attn.w_msa.relative_position_bias_table
    assert table.shape == (49, 1)
    torch.testing.assert_close(table, torch.full_like(table, 0.25))


def test_missing_file_says_what_to_do(tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        require_pretrained(tmp_path / 'swin.pth')
    text = str(caught.value)
    assert str(tmp_path / 'swin.pth') in text
    assert 'swin_tiny_patch4_window7_224.pth' in text
    assert 'convert_swin_checkpoint.py' in text
    assert 'model.pretrained=None' in text


@pytest.mark.parametrize('content', [b'', b'<!DOCTYPE html><html></html>'])
def test_broken_file_is_named(tmp_path, content):
    path = tmp_path / 'swin.pth'
    path.write_bytes(content)
    with pytest.raises(ValueError, match='swin.pth .*bytes'):
        load_swin_weights(path)


def test_code_in_a_file_is_not_run(tmp_path):
    torch.save({'model': {'a': Fraction(1, 2)}}, tmp_path / 'evil.pth')
    with pytest.raises(ValueError, match='fractions.Fraction.*could run code'):
        load_swin_weights(tmp_path / 'evil.pth')


def test_other_networks_are_refused():
    with pytest.raises(ValueError, match='no Swin transformer.*conv1.weight'):
        load_swin_weights({'conv1.weight': torch.zeros(1)})
