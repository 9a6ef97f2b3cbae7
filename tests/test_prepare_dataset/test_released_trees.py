"""Trees that the release's own scripts made: images and labels, no more.

They pass the check, and the published configs read them.
"""
from pathlib import Path

import numpy as np
import pytest
import torch
from mmcv import Config
from mmseg.datasets import build_dataset
from PIL import Image
from raw_trees import photograph, save

from prepare_dataset.check import COLLECTIONS, check

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = ROOT / 'configs/_base_/datasets'
SIDE = 120


def palette_png(labels):
    image = Image.fromarray(labels)
    image.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0, 128, 128, 0, 0, 0, 128])
    return image


@pytest.fixture
def tree(tmp_path):
    """All eight collections; another eye in each split."""
    number = 0
    for collection in COLLECTIONS:
        for split, described in collection.splits.items():
            base = tmp_path / collection.folder / (
                split if described.folder is None else described.folder)
            labels = np.zeros((SIDE, SIDE), np.uint8)
            for value in range(1, collection.labels['ann'].largest + 1):
                labels[20 * value:20 * value + 9, 50:60] = value
            number += 1
            blotches = np.random.default_rng(number).uniform(0.5, 1, (12, 12))
            image = photograph((SIDE, SIDE), (60, 60), 55)
            image = (image * np.kron(blotches, np.ones(
                (10, 10)))[..., None]).astype(np.uint8)
            save(base / f'images/eye_{number}{collection.image_suffix}', image)
            save(base / f'ann/eye_{number}.png', palette_png(labels))
            if collection.name == 'IDRiD' and split == 'test':
                disc = (labels == 1).astype(np.uint8)
                save(base / f'OD/eye_{number}.png', palette_png(disc))
    return tmp_path


def test_they_pass_the_check(tree):
    assert not list(tree.rglob('geometry.csv')) + list(tree.rglob('fov'))
    reports = check(tree, workers=1)
    assert [p for r in reports for p in r.problems] == []
    assert len(reports) == sum(len(c.splits) for c in COLLECTIONS)


@pytest.fixture
def build(tree):
    import mbos.datasets  # noqa: F401
    return lambda cfg, **more: build_dataset(
        dict(
            cfg,
            data_root=str(tree),
            tasks=['vessel', 'lesion', 'odoc'],
            **more))


def test_the_published_configs_read_them(build):
    """With their whole pipelines, at their real size."""
    config = Config.fromfile(f'{CONFIGS}/fundus_stage1.py')
    expected = dict(reta={0, 1}, ddr={0, 1, 2, 3, 4}, refuge={0, 1, 2})
    for index, (name, values) in enumerate(expected.items()):
        sample = build(config[name])[0]
        image, labels = sample['img'].data, sample['labels'].data.numpy()
        assert image.shape == labels.shape == (3, 512, 512)
        assert torch.isfinite(image).all()
        assert set(np.unique(labels[index])) <= {*values, 255}
        rest = [i for i in range(3) if i != index]
        assert (labels[rest] == 255).all()
    for name, described in config.test_sets.items():
        dataset = build(described, test_mode=True)
        assert len(dataset) == 1, name
        sample = dataset[0]
        assert sample['img'][0].shape == (3, 1024, 1024)
        metas = sample['img_metas'][0].data
        assert metas['ori_shape'] == (SIDE, SIDE, 3)
        assert metas['flip'] is False and metas['dataset'] == dataset.name
