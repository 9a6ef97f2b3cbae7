"""Backbones of three families through both stages, prediction and export."""
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmseg.models import build_segmentor

from mbos.checkpoints import onnx_export
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
EVERY = pytest.mark.parametrize('family', FAMILIES)


def use_family(model_cfg, family, xta=None):
    """Give a tiny network another backbone, and smaller xTA."""
    backbone, channels = FAMILIES[family]
    model_cfg['backbone'] = dict(backbone)
    model_cfg['decode_head']['head']['in_channels'] = channels
    model_cfg['auxiliary_head']['head']['in_channels'] = channels[2]
    if xta:
        model_cfg['decode_head']['cross_task_attention'] = dict(xta)


def network(family, adversarial=False, xta=None, **changes):
    cfg = tiny_model_cfg(TWO, adversarial=adversarial, **changes)
    use_family(cfg, family, xta)
    torch.manual_seed(0)
    return build_segmentor(cfg)


def batch():
    """Each dataset labels a task; one comes again with pseudo labels."""
    rng = np.random.default_rng(0)
    metas = [
        make_meta('a', TWO, ['vessel']),
        make_meta('b', TWO, ['odoc']),
        make_meta('a', TWO, pseudo=['odoc'])
    ]
    labels = [
        stack_planes(
            TWO, 64, 64, **{
                task: rng.integers(0, 2, (64, 64))
                for task, plane in meta['planes'].items()
                if plane['kind'] != 'absent'
            }) for meta in metas
    ]
    return dict(
        img=torch.from_numpy(rng.normal(size=(3, 3, 64, 64))).float(),
        img_metas=metas,
        labels=torch.stack(labels))


@EVERY
@pytest.mark.parametrize('adversarial', [False, True])
def test_all_weights_learn(family, adversarial):
    """And nothing depends on how many images pass together."""
    losses = []
    for images in (1, 3):
        model = network(
            family,
            adversarial,
            xta=XTA if adversarial else None,
            train_cfg=dict(images_per_pass=images),
            **(dict(
                discriminator=dict(
                    type='PatchDiscriminator',
                    channels=4,
                    num_convs=3,
                    downscale=2)) if adversarial else {})).train()
        step = model.train_step(batch(), backward=lambda x: x.backward())
        losses.append({k: v.item() for k, v in step['losses'].items()})
        lacking = [
            name for name, p in model.named_parameters()
            if p.requires_grad and p.grad is None
        ]
        # a map that no head reads has a norm of its own
        assert not [n for n in lacking if 'backbone' not in n], lacking
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


@EVERY
def test_low_memory_gives_the_same_gradients(family):
    gradients = []
    for low_memory in (False, True):
        model = network(family, train_cfg=dict(low_memory=low_memory)).train()
        model.backbone.eval()  # without stochastic depth
        for parameter in model.parameters():
            if parameter.dim() > 1:
                torch.nn.init.normal_(
                    parameter,
                    std=0.1,
                    generator=torch.Generator().manual_seed(1))
        model.train_step(batch(), backward=lambda x: x.backward())
        gradients.append([
            p.grad for p in model.backbone.parameters() if p.grad is not None
        ])
    assert len(gradients[0]) > 10
    for kept, again in zip(*gradients, strict=True):
        torch.testing.assert_close(kept, again, rtol=1e-3, atol=1e-5)


def test_export_of_attention_that_keeps_the_traced_size(tmp_path):
    pytest.importorskip('onnxruntime')
    model = network('mit', xta=XTA).eval()
    model.settings = SimpleNamespace(
        normalization=dict(mean=(95., 57., 25.), std=(58., 35., 16.)))
    for parameter in model.parameters():
        if parameter.dim() > 1:
            parameter.data += 0.02 * torch.randn_like(parameter)
    path = str(tmp_path / 'a.onnx')
    with pytest.raises(ValueError, match='--size'):
        onnx_export.export_onnx(model, path, {})
    assert onnx_export.export_onnx(model, path, {}, (70, 101)) < 1e-5
