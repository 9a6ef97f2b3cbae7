"""Backbones of three families through both stages, prediction and export."""

import numpy as np
import pytest
import torch
from mmseg.models import build_segmentor

from mbos.checkpoints import onnx_export
from mbos.checkpoints.settings import PredictionSettings
from tests.utils import make_meta, stack_planes, tiny_model_cfg

TWO = ('vessel', 'odoc')
FAMILIES = {
    'lite0':
    (dict(type='TimmFeatures',
          model_name='tf_efficientnet_lite0'), [24, 40, 112, 320]),
    'resnet': (dict(
        type='ResNet',
        depth=18,
        base_channels=12,
        norm_eval=True,
        norm_cfg=dict(type='BN')), [12, 24, 48, 96]),
    'mit': (dict(
        type='MixVisionTransformer',
        embed_dims=12,
        num_layers=[1, 1, 1, 1],
        num_heads=[1, 2, 5, 8]), [12, 24, 60, 96]),
}  # yapf: disable
XTA = dict(num_heads=2, window_size=4, width=8, downscale=2)


def family_cfg(family, **changes):
    """A tiny network with another backbone."""
    backbone, channels = FAMILIES[family]
    cfg = tiny_model_cfg(TWO, backbone=dict(backbone), **changes)
    cfg.decode_head.head.in_channels = channels
    cfg.auxiliary_head.head.in_channels = channels[2]
    return cfg


def gradients(model):
    """Each dataset labels a task; one comes again."""
    rng = np.random.default_rng(0)
    tasks = ('vessel', 'odoc', 'odoc')
    labels = [
        stack_planes(TWO, 64, 64, **{task: rng.integers(0, 2, (64, 64))})
        for task in tasks
    ]
    image = torch.from_numpy(rng.normal(size=(3, 3, 64, 64))).float()
    metas = [make_meta(task, TWO, [task]) for task in tasks]
    batch = dict(img=image, img_metas=metas, labels=torch.stack(labels))
    model.train_step(batch, backward=lambda loss: loss.backward())
    return {n: p.grad for n, p in model.named_parameters()}


@pytest.mark.parametrize('family', FAMILIES)
def test_all_weights_learn(family):
    """Alike, however many images pass together and what is kept of them."""
    results = []
    for train_cfg in (dict(images_per_pass=1), dict(images_per_pass=3),
                      dict(low_memory=True)):
        torch.manual_seed(0)
        model = build_segmentor(family_cfg(family, train_cfg=train_cfg))
        model.train().backbone.eval()  # without stochastic depth
        generator = torch.Generator().manual_seed(1)
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.data.normal_(std=0.1, generator=generator)
        results.append(gradients(model))
    for name, expected in results[0].items():
        # a map that no head reads has a norm of its own
        assert expected is not None or 'backbone' in name
        for other in results[1:] if expected is not None else ():
            torch.testing.assert_close(
                other[name], expected, rtol=1e-3, atol=1e-4)


def test_export_of_attention_that_keeps_the_traced_size(tmp_path):
    pytest.importorskip('onnxruntime')
    cfg = family_cfg('mit')
    cfg.decode_head.cross_task_attention = XTA
    model = build_segmentor(cfg).eval()
    normalize = dict(
        type='Normalize', mean=(95., 57., 25.), std=(58., 35., 16.))
    scaling = dict(type='MultiScaleFlipAug', transforms=[normalize])
    model.settings = PredictionSettings([scaling])
    for parameter in model.parameters():
        if parameter.dim() > 1:
            parameter.data += 0.02 * torch.randn_like(parameter)
    path = str(tmp_path / 'a.onnx')
    with pytest.raises(ValueError, match='--size'):
        onnx_export.export_onnx(model, path)
    assert onnx_export.export_onnx(model, path, (70, 101)) < 1e-5
