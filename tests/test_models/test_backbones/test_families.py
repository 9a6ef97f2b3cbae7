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
GAME = dict(type='PatchDiscriminator', channels=4, num_convs=3, downscale=2)


def use_family(model_cfg, family, xta=None):
    """Give a tiny network another backbone, and smaller xTA."""
    backbone, channels = FAMILIES[family]
    model_cfg['backbone'] = dict(backbone)
    model_cfg['decode_head']['head']['in_channels'] = channels
    model_cfg['auxiliary_head']['head']['in_channels'] = channels[2]
    if xta:
        model_cfg['decode_head']['cross_task_attention'] = dict(xta)


def network(family, adversarial=False, **train_cfg):
    changes = dict(discriminator=GAME) if adversarial else {}
    cfg = tiny_model_cfg(
        TWO, adversarial=adversarial, train_cfg=train_cfg, **changes)
    use_family(cfg, family, XTA if adversarial else None)
    torch.manual_seed(0)
    return build_segmentor(cfg).train()


def step(model):
    """Each dataset labels a task; one comes again with pseudo labels."""
    rng = np.random.default_rng(0)
    metas = [
        make_meta('a', TWO, ['vessel']),
        make_meta('b', TWO, ['odoc']),
        make_meta('a', TWO, pseudo=['odoc'])
    ]
    labels = [
        stack_planes(TWO, 64, 64, **{task: rng.integers(0, 2, (64, 64))})
        for task in ('vessel', 'odoc', 'odoc')
    ]
    image = torch.from_numpy(rng.normal(size=(3, 3, 64, 64))).float()
    batch = dict(img=image, img_metas=metas, labels=torch.stack(labels))
    return model.train_step(batch, backward=lambda x: x.backward())['losses']


@pytest.mark.parametrize('family', FAMILIES)
@pytest.mark.parametrize('adversarial', [False, True])
def test_all_weights_learn(family, adversarial):
    """And nothing depends on how many images pass together."""
    losses = []
    for images in (1, 3):
        model = network(family, adversarial, images_per_pass=images)
        losses.append({k: v.item() for k, v in step(model).items()})
        lacking = [
            name for name, p in model.named_parameters()
            # a map that no head reads has a norm of its own
            if p.requires_grad and p.grad is None and 'backbone' not in name
        ]
        assert not lacking
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


@pytest.mark.parametrize('family', FAMILIES)
def test_low_memory_gives_the_same_gradients(family):
    gradients = []
    for low_memory in (False, True):
        model = network(family, low_memory=low_memory)
        model.backbone.eval()  # without stochastic depth
        generator = torch.Generator().manual_seed(1)
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.data.normal_(std=0.1, generator=generator)
        step(model)
        gradients.append([
            p.grad for p in model.backbone.parameters() if p.grad is not None
        ])
    assert len(gradients[0]) > 10
    for kept, again in zip(*gradients, strict=True):
        torch.testing.assert_close(kept, again, rtol=1e-3, atol=1e-5)


def test_export_of_attention_that_keeps_the_traced_size(tmp_path):
    pytest.importorskip('onnxruntime')
    cfg = tiny_model_cfg(TWO)
    use_family(cfg, 'mit', XTA)
    model = build_segmentor(cfg).eval()
    model.settings = SimpleNamespace(
        normalization=dict(mean=(95., 57., 25.), std=(58., 35., 16.)))
    for parameter in model.parameters():
        if parameter.dim() > 1:
            parameter.data += 0.02 * torch.randn_like(parameter)
    path = str(tmp_path / 'a.onnx')
    with pytest.raises(ValueError, match='--size'):
        onnx_export.export_onnx(model, path, {})
    assert onnx_export.export_onnx(model, path, {}, (70, 101)) < 1e-5
