"""Trees that the release's own scripts made: images and labels, no more.

They pass the check, and the published configs read them.
"""
from pathlib import Path

import imgviz
import numpy as np
import pytest
from mmcv import Config
from PIL import Image
from raw_trees import photograph, save

from prepare_dataset.check import COLLECTIONS, check, main

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / 'configs/_base_/datasets/fundus_stage1.py'
SIDE = 120


def palette_png(labels):
    image = Image.fromarray(labels).convert('P')
    image.putdata(labels.ravel().tolist())
    image.putpalette(imgviz.label_colormap().astype(np.uint8).ravel().tolist())
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


def test_they_pass_the_check(tree, capsys):
    assert not list(tree.rglob('geometry.csv')) + list(tree.rglob('fov'))
    reports = check(tree, workers=1)
    assert [p for r in reports for p in r.problems] == []
    assert len(reports) == sum(len(c.splits) for c in COLLECTIONS)
    assert main([str(tree), '--workers', '1']) == 0
    assert 'Nothing wrong.' in capsys.readouterr().out


def test_the_published_configs_read_them(tree):
    from mmseg.datasets import build_dataset

    import mbos.datasets  # noqa: F401
    config = Config.fromfile(str(CONFIG))
    tasks = ['vessel', 'lesion', 'odoc']
    expected = dict(reta={0, 1}, ddr={0, 1, 2, 3, 4}, refuge={0, 1, 2})
    for index, name in enumerate(('reta', 'ddr', 'refuge')):
        dataset = build_dataset(
            dict(config[name], data_root=str(tree), tasks=tasks))
        assert len(dataset) == 1
        sample = dataset[0]
        assert sample['img'].data.shape == (3, 512, 512)
        planes = sample['labels'].data
        values = set(np.unique(planes[index]).tolist()) - {255}
        assert values and values <= expected[name]
        rest = [i for i in range(3) if i != index]
        assert (planes[rest] == 255).all()


def test_test_sets_read_them(tree):
    from mmseg.datasets import build_dataset

    import mbos.datasets  # noqa: F401
    config = Config.fromfile(str(CONFIG))
    for name, described in config.test_sets.items():
        dataset = build_dataset(
            dict(
                described,
                data_root=str(tree),
                tasks=['vessel', 'lesion', 'odoc'],
                test_mode=True))
        assert len(dataset) == 1, name
