"""What does not go together, before the first iteration.

Heads and backbones; BatchNorm, which mixes the images of a pass.
"""
import pytest
import torch
from mmseg.models import build_segmentor

from mbos.models.checks import check_network
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


def step(model):
    """Losses and statistics after a step of two images of each task."""
    torch.manual_seed(0)
    metas = [make_meta(f'{t}_set', TASKS, [t]) for t in TASKS for _ in 'ab']
    labels = [
        stack_planes(TASKS, 64, 64, **{task: torch.rand(64, 64) < 0.3})
        for task in TASKS for _ in 'ab'
    ]
    losses = model.train_step(
        dict(
            img=torch.randn(4, 3, 64, 64, dtype=torch.float64),
            img_metas=metas,
            labels=torch.stack(labels)))['losses']
    statistics = [b.sum().item() for b in model.buffers()]
    return {k: v.item() for k, v in losses.items()}, statistics


# 'auto' on a CPU too, where it is one image without BatchNorm
@pytest.mark.parametrize('norm_eval, limit', [(False, 'auto'), (True, 1),
                                              (True, 3)])
def test_results_do_not_depend_on_a_setting_of_memory(norm_eval, limit):
    model = network(norm_eval, images_per_pass=limit)
    check_network(model, 4)
    together = step(network(norm_eval, images_per_pass=4))
    for found, expected in zip(step(model), together):
        assert found == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize('limit', [1, 3])
def test_a_setting_that_separates_images_is_refused(limit):
    model = network(images_per_pass=limit)
    message = f'images_per_pass={limit},.* separates the 4 images.*bn1'
    with pytest.raises(ValueError, match=message):
        step(model)
    with pytest.raises(ValueError, match=message):
        check_network(model, 4)
    check_network(model, limit)
    with pytest.raises(ValueError, match='low_memory=True.*norm_eval=True'):
        check_network(network(low_memory=True), 4)
    check_network(network(True, low_memory=True), 4)


SWIN = tiny_model_cfg().backbone.to_dict()
TIMM = dict(type='TimmFeatures', model_name='resnet10t')


@pytest.mark.parametrize('backbone, part, head, message', [
    (SWIN, 'decode_head', dict(in_channels=[12, 24, 48, 97]),
     r'in_channels=\[12, 24, 48, 97\].*\[12, 24, 48, 96\]'),
    (TIMM, 'decode_head', dict(), r'\[64, 128, 256, 512\] channels'),
    (SWIN, 'decode_head', dict(in_index=[0, 1, 2, 4]), 'in_index=.*4'),
    (SWIN, 'auxiliary_head', dict(in_channels=24), r'=\[24\].*those \[48\]'),
])
def test_heads_that_expect_other_maps(backbone, part, head, message):
    cfg = tiny_model_cfg(backbone=backbone)
    cfg[part].head.update(head)
    with pytest.raises(ValueError, match=f'{part}.*{message}'):
        check_network(build_segmentor(cfg), 1)
