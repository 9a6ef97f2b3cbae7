"""Heads that do not go with a backbone, before the first iteration."""
import pytest
from mmseg.models import build_segmentor

from mbos.models.checks import backbone_channels, check_network
from tests.utils import tiny_model_cfg

SWIN = tiny_model_cfg().backbone.to_dict()
TIMM = dict(type='TimmFeatures', model_name='resnet10t')


def network(backbone, **head):
    cfg = tiny_model_cfg(backbone=backbone)
    cfg.decode_head.head.update(head)
    return build_segmentor(cfg)


@pytest.mark.parametrize('backbone, channels', [
    (SWIN, [12, 24, 48, 96]),
    (TIMM, [64, 128, 256, 512]),
])
def test_channels_of_the_maps(backbone, channels):
    model = network(backbone)
    assert backbone_channels(model) == channels
    assert model.training


def test_what_fits_passes():
    check_network(network(SWIN), 1)


@pytest.mark.parametrize('backbone, head, message', [
    (SWIN, dict(in_channels=[12, 24, 48, 97]),
     r'in_channels is \[12, 24, 48, 97\].*\[12, 24, 48, 96\]'),
    (TIMM, dict(), r'\[64, 128, 256, 512\] channels: set in_channels'),
    (SWIN, dict(in_index=[0, 1, 2, 4]), 'names map 4.*gives 4 maps'),
])
def test_other_maps_are_refused(backbone, head, message):
    with pytest.raises(ValueError, match=message) as caught:
        check_network(network(backbone, **head), 1)
    assert 'decode_head' in str(caught.value)


def test_the_auxiliary_head_too():
    cfg = tiny_model_cfg()
    cfg.auxiliary_head.head.in_channels = 24
    with pytest.raises(ValueError, match='auxiliary_head.*is 24.*have 48'):
        check_network(build_segmentor(cfg), 1)
