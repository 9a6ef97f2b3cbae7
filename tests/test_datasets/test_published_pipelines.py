"""The published pipelines at their real size.

See docs/method.md, sections 4 and 6.
"""
import numpy as np
import pytest
import torch

from mbos.datasets import JointDataset
from mbos.datasets.as_released import plain_loading

LOAD = [
    dict(
        type='LoadRandomCrop',
        img_scale=(1024, 1024),
        ratio_range=(0.5, 2.0),
        crop_size=(512, 512)),
]
LABELLED = [
    dict(type='IndependentFlip', prob_horizontal=0.5, prob_vertical=0.5),
    dict(
        type='RotateFromList',
        angles=[15, 11.25, 7.5, 3.75, 0, -3.75, -7.5, -11.25, -15]),
]
STRONG = [
    dict(type='IndependentFlip', prob_horizontal=0.5, prob_vertical=0.0),
    dict(type='ColorJitter'),
    dict(type='RandomGrayscale'),
    dict(type='RandomGaussianBlur'),
    dict(type='CutOut'),
]
FORMAT = [
    dict(
        type='Normalize',
        mean=[95.523, 57.776, 25.422],
        std=[58.273, 35.645, 16.790],
        to_rgb=True),
    dict(type='Pad', size=(512, 512), pad_val=0, seg_pad_val=255),
    dict(type='FormatPlanes'),
]


@pytest.mark.parametrize('load', [LOAD, plain_loading(LOAD)])
@pytest.mark.parametrize('middle', [LABELLED, STRONG])
def test_training(make, middle, load):
    # not square, so the smaller side needs padding where the scale is near
    # its lower end; the seed is one where this happens
    joint = JointDataset([make(pipeline=load + middle + FORMAT)], seed=3)
    padded = 0
    for i in range(20):
        sample = joint[i][0]
        assert sample['img'].data.shape == (3, 512, 512)
        assert sample['labels'].data.shape == (3, 512, 512)
        assert torch.isfinite(sample['img'].data).all()
        values = set(np.unique(sample['labels'].data[1]))
        assert values <= {0, 1, 2, 3, 4, 255}
        last = sample['labels'].data[1, -1]
        if (last == 255).all() and (sample['img'].data[:, -1] == 0).all():
            padded += 1
    assert padded > 0


def test_testing(make):
    pipeline = [
        dict(type='LoadImageFromFile'),
        dict(
            type='MultiScaleFlipAug',
            img_scale=(1024, 1024),
            flip=False,
            transforms=[
                dict(type='Resize', keep_ratio=True),
                dict(type='RandomFlip'), FORMAT[0],
                dict(type='ImageToTensor', keys=['img']),
                dict(type='CollectImage')
            ])
    ]
    sample = make(test_mode=True, pipeline=pipeline)[0]
    assert sample['img'][0].shape == (3, 731, 1024)
    metas = sample['img_metas'][0].data
    assert metas['ori_shape'] == (40, 56, 3)
    assert metas['flip'] is False and metas['dataset'] == 'ddr'
    # green is 7 everywhere
    green = sample['img'][0][1]
    np.testing.assert_allclose(green, (7 - 57.776) / 35.645, rtol=1e-5)
