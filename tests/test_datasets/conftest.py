"""A small dataset on disk: the red channel of an image is its label."""
import json

import numpy as np
import pytest
from PIL import Image

from mbos.datasets import PartialLabelDataset
from mbos.io.labels import save_labels

GREY_STEP = 40
NORMALIZE = dict(
    type='Normalize', mean=(0., 0., 0.), std=(1., 1., 1.), to_rgb=True)
PLAIN = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadPlanes'), NORMALIZE,
    dict(type='FormatPlanes')
]
TEST = [
    dict(type='LoadImageFromFile'),
    dict(
        type='MultiScaleFlipAug',
        img_scale=(32, 32),
        flip=False,
        transforms=[
            dict(type='Resize', keep_ratio=True), NORMALIZE,
            dict(type='ImageToTensor', keys=['img']),
            dict(type='CollectImage')
        ])
]


def block_labels(height, width, top=4, seed=0):
    """Draw labels 0..top in blocks of 8x8 pixels."""
    blocks = np.random.default_rng(seed).integers(
        0, top + 1, (height // 8 + 1, width // 8 + 1), dtype=np.uint8)
    labels = np.kron(blocks, np.ones((8, 8), np.uint8))
    return labels[:height, :width]


def image_of(labels):
    """Make an RGB image: red shows the label, green and blue are fixed."""
    image = np.empty(labels.shape + (3, ), np.uint8)
    image[..., 0] = GREY_STEP * labels
    image[..., 1] = 7
    image[..., 2] = 250
    return image


@pytest.fixture
def root(tmp_path):
    """Folder of five images with lesion truth and vessel pseudo labels."""
    data = tmp_path / 'data'
    (data / 'images').mkdir(parents=True)
    for i in range(5):
        labels = block_labels(40 + 2 * i, 56, seed=i)
        Image.fromarray(image_of(labels)).save(data / f'images/eye_{i}.png')
        save_labels(str(data / f'ann/eye_{i}.png'), labels)
        save_labels(str(data / f'pseudo/eye_{i}.png'), labels % 2)
    write_manifest(data / 'pseudo')
    return data


def write_manifest(folder, **changes):
    """Write the manifest of the pseudo labels."""
    manifest = dict(
        task='vessel',
        checkpoint='work_dirs/stage1/iter_1.pth',
        checkpoint_sha256='0' * 64,
        config='stage2.py',
        threshold=0.5,
        images=[f'eye_{i}' for i in range(5)])
    manifest.update(changes)
    (folder / 'manifest.json').write_text(json.dumps(manifest))


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
        arguments.update(changes)
        return PartialLabelDataset(**arguments)

    return build


@pytest.fixture
def manifest_writer():
    """Function that writes a manifest."""
    return write_manifest


@pytest.fixture
def test_pipeline():
    """Pipeline of a test set."""
    return TEST
