"""What does not go together, before the first iteration.

Heads and backbones; BatchNorm, which mixes the images of a pass.
"""
import pytest
import torch
from mmseg.models import build_segmentor
from torch import nn

from mbos.models.checks import (backbone_channels, batch_norms, check_network,
                                images_per_pass, single_values_explained)
from tests.utils import make_meta, stack_planes, tiny_model, tiny_model_cfg

BN = dict(type='BN', requires_grad=True)
TASKS = ('vessel', 'odoc')


def network(norm_eval=False, **train_cfg):
    """A ResNet with BatchNorm below heads with GroupNorm."""
    torch.manual_seed(0)
    model = tiny_model(
        tasks=list(TASKS),
        backbone=dict(
            type='ResNet',
            depth=18,
            base_channels=12,
            norm_cfg=BN,
            norm_eval=norm_eval),
        train_cfg=train_cfg)
    return model.double().train()


def batch(images=4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    metas = [make_meta(f'{t}_set', TASKS, [t])
             for t in TASKS for _ in range(images // 2)]  # yapf: disable
    labels = torch.stack([
        stack_planes(
            TASKS, 64, 64, **{
                t: (torch.rand(64, 64, generator=generator) < 0.3).numpy()
                for t, plane in meta['planes'].items()
                if plane['kind'] == 'truth'
            }) for meta in metas
    ])
    img = torch.randn(
        images, 3, 64, 64, generator=generator, dtype=torch.float64)
    return dict(img=img, img_metas=metas, labels=labels)


def losses_and_statistics(model):
    values = model.train_step(batch(), backward=lambda x: x.backward())
    return ({
        k: v.item()
        for k, v in values['losses'].items()
    }, {
        k: v.clone()
        for k, v in model.named_buffers()
    })


def test_auto_lets_all_images_through_together():
    """On a CPU too, where it is one image at a time without BatchNorm."""
    auto, together = network(), network(images_per_pass=4)
    losses, statistics = losses_and_statistics(auto)
    expected, buffers = losses_and_statistics(together)
    assert losses == pytest.approx(expected, rel=1e-9)
    for key, value in statistics.items():
        torch.testing.assert_close(value, buffers[key])


@pytest.mark.parametrize('limit', [1, 3])
def test_a_setting_that_separates_images_is_refused(limit):
    model = network(images_per_pass=limit)
    message = f'images_per_pass={limit} separates the 4 images.*bn1'
    with pytest.raises(ValueError, match=message):
        model.train_step(batch())
    with pytest.raises(ValueError, match=message):
        check_network(model, 4)
    check_network(model, limit)


@pytest.mark.parametrize('limit', [1, 3])
def test_kept_statistics_allow_any_setting(limit):
    """An image's result depends on no other image then."""
    model, together = (network(True, images_per_pass=n) for n in (limit, 4))
    check_network(model, 4)
    assert losses_and_statistics(model)[0] == pytest.approx(
        losses_and_statistics(together)[0], rel=1e-9)


def test_low_memory_is_refused_with_it():
    with pytest.raises(ValueError, match='low_memory=True.*norm_eval=True'):
        check_network(network(low_memory=True), 4)
    check_network(network(True, low_memory=True), 4)


def test_a_single_value_per_channel_is_explained():
    norm = nn.BatchNorm2d(2)
    with pytest.raises(ValueError, match='samples_per_gpu=2.*images_per_pass'):
        with single_values_explained():
            norm(torch.zeros(1, 2, 1, 1))
    with pytest.raises(ValueError, match='something else'):
        with single_values_explained():
            raise ValueError('something else')


@pytest.mark.parametrize('setting', [0, -1, 'all', 1.5, None])
def test_settings_that_mean_nothing(setting):
    with pytest.raises(ValueError, match='images_per_pass is.*from 1'):
        images_per_pass(dict(images_per_pass=setting), 4, True, [])


@pytest.mark.parametrize('setting, alone, norms, expected', [
    ('auto', True, [], 1),
    ('auto', False, [], 4),
    ('auto', True, ['bn'], 4),
    (3, True, [], 3),
    (4, True, ['bn'], 4),
])
def test_how_many_pass_together(setting, alone, norms, expected):
    cfg = dict(images_per_pass=setting)
    assert images_per_pass(cfg, 4, alone, norms) == expected


def test_layers_that_mix_images():
    model = nn.Sequential(
        nn.BatchNorm2d(2), nn.SyncBatchNorm(2), nn.InstanceNorm2d(2),
        nn.GroupNorm(1, 2))
    assert batch_norms(model) == ['0', '1']
    model[0].eval()
    assert batch_norms(model) == ['1']


SWIN = tiny_model_cfg().backbone.to_dict()
TIMM = dict(type='TimmFeatures', model_name='resnet10t')


def with_backbone(backbone, **head):
    cfg = tiny_model_cfg(backbone=backbone)
    cfg.decode_head.head.update(head)
    return build_segmentor(cfg)


@pytest.mark.parametrize('backbone, channels', [
    (SWIN, [12, 24, 48, 96]),
    (TIMM, [64, 128, 256, 512]),
])
def test_channels_of_the_maps(backbone, channels):
    model = with_backbone(backbone)
    assert backbone_channels(model) == channels
    assert model.training


def test_what_fits_passes():
    check_network(with_backbone(SWIN), 1)


@pytest.mark.parametrize('backbone, head, message', [
    (SWIN, dict(in_channels=[12, 24, 48, 97]),
     r'in_channels is \[12, 24, 48, 97\].*\[12, 24, 48, 96\]'),
    (TIMM, dict(), r'\[64, 128, 256, 512\] channels: set in_channels'),
    (SWIN, dict(in_index=[0, 1, 2, 4]), 'gives 4 maps'),
])
def test_other_maps_are_refused(backbone, head, message):
    with pytest.raises(ValueError, match=message) as caught:
        check_network(with_backbone(backbone, **head), 1)
    assert 'decode_head' in str(caught.value)


def test_the_auxiliary_head_too():
    cfg = tiny_model_cfg()
    cfg.auxiliary_head.head.in_channels = 24
    with pytest.raises(
            ValueError, match=r'auxiliary_head.*is 24.*have \[48\]'):
        check_network(build_segmentor(cfg), 1)
