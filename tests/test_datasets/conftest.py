"""A small dataset on disk: the red channel of an image is its label."""
import json

import numpy as np
import pytest
import torch
from mmcv import ConfigDict
from PIL import Image

from mbos.datasets import PartialLabelDataset
from mbos.datasets.loader import build_train_loader
from mbos.io.labels import save_labels
from mbos.runtime.environment import Environment

NORMALIZE = dict(
    type='Normalize', mean=(0., 0., 0.), std=(1., 1., 1.), to_rgb=True)
PLAIN = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadPlanes'), NORMALIZE,
    dict(type='FormatPlanes')
]
SCALED = [
    dict(type='Resize', keep_ratio=True), NORMALIZE,
    dict(type='ImageToTensor', keys=['img']),
    dict(type='CollectImage')
]
TEST = [
    dict(type='LoadImageFromFile'),
    dict(type='MultiScaleFlipAug', img_scale=(32, 32), flip=False,
         transforms=SCALED)
]  # yapf: disable
MANIFEST = dict(task='vessel', images=[f'eye_{i}' for i in range(5)])


def train_loader(joint, images, workers, seed, start=0):
    """The loader of a training in one process."""
    data = dict(samples_per_gpu=images, workers_per_gpu=workers)
    cfg = ConfigDict(seed=seed, data=data)
    return build_train_loader(joint, cfg, Environment(torch.device('cpu')),
                              start)


def shape_of(i):
    return 40 + 2 * i, 56


@pytest.fixture
def root(tmp_path):
    """Folder of five images with lesion truth and vessel pseudo labels."""
    data = tmp_path / 'data'
    (data / 'images').mkdir(parents=True)
    for i in range(5):
        blocks = np.random.default_rng(i).integers(0, 5, (7, 8), np.uint8)
        height, width = shape_of(i)
        labels = np.kron(blocks, np.ones((8, 8), np.uint8))[:height, :width]
        image = np.stack([40 * labels, 0 * labels + 7, 0 * labels + 250], -1)
        Image.fromarray(image).save(data / f'images/eye_{i}.png')
        save_labels(data / f'ann/eye_{i}.png', labels)
        save_labels(data / f'pseudo/eye_{i}.png', labels % 2)
    (data / 'pseudo/manifest.json').write_text(json.dumps(MANIFEST))
    return data


@pytest.fixture
def make(root):
    """Function that makes the dataset with changed arguments."""

    def build(**changes):
        arguments = dict(
            name='ddr',
            tasks=['odoc', 'lesion', 'vessel'],
            data_root=str(root),
            img_dir='images',
            img_suffix='.png',
            ann_dirs=dict(lesion='ann'),
            pseudo_dirs=dict(vessel='pseudo'),
            weights=dict(vessel=2.0),
            pipeline=PLAIN)
        return PartialLabelDataset(**arguments | changes)

    return build


@pytest.fixture
def make_test_set(make):
    """Function that makes a test set, with changed arguments."""
    given = dict(test_mode=True, pipeline=TEST, pseudo_dirs={}, weights={})
    return lambda **changes: make(**given | changes)
