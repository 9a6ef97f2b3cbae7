"""Comparison of models on pictures of 16 pixels."""
import numpy as np
import pytest
from PIL import Image

from mbos.datasets import PartialLabelDataset
from mbos.io.files import save_json
from mbos.io.labels import save_labels
from quickstart.comparison import (compare, comparison_table, constant_dice,
                                   markdown_table)


def make_set(root, name, task, *labels, fov=None):
    """A test set of 4x4 images from label maps."""
    for i, plane in enumerate(labels):
        save_labels(root / name / f'ann/{i}.png', plane)
        (root / name / 'images').mkdir(exist_ok=True)
        image = Image.new('RGB', plane.shape[::-1], (90, 40, 20))
        image.save(root / name / f'images/{i}.png')
        if fov is not None:
            save_labels(root / name / f'fov/{i}.png', fov)
    return PartialLabelDataset(
        name=name,
        tasks=['vessel', 'lesion', 'odoc'],
        data_root=str(root / name),
        img_dir='images',
        img_suffix='.png',
        ann_dirs={task: 'ann'},
        pipeline=[],
        test_mode=True)


VESSELS = np.zeros((2, 4, 4), np.uint8)  # of 3 and 1 of 16 pixels
VESSELS[0, 0, :3] = VESSELS[1, 1, 1] = 1


def test_constant_predictor_by_hand(tmp_path):
    first, second = VESSELS.copy()
    second[3, 3] = 255
    fov = np.ones((4, 4), np.uint8)
    fov[0, 0] = 0  # outside, where the first image has a vessel pixel
    dataset = make_set(tmp_path, 'drive', 'vessel', first, second, fov=fov)
    # predicted: 15 + 14 pixels, of which 2 + 1 are among the 3 + 1 true ones
    dice = pytest.approx(2 * 3 / (29 + 4))
    assert constant_dice(dataset) == dict(vessel=dict(vessel=dice))


def test_table(tmp_path):
    plane = np.zeros((4, 4), np.uint8)
    plane[:2], plane[0, 0], plane[3, 3] = 1, 4, 4  # EX and MA only
    sets = [
        make_set(tmp_path, 'hidden_x', 'lesion', plane),
        make_set(tmp_path, 'drive', 'vessel', VESSELS[0])
    ]
    for file, figures in {
            's1/eval_hidden_x.json': {'lesion.Dice.EX': 0.5,
                                      'lesion.Dice.MA': 0.1,
                                      'lesion.Dice.HE': None},
            's1/eval_drive.json': {'vessel.Dice.vessel': 0.7},
            'v/eval_drive.json': {'vessel.Dice.vessel': 0.75},
    }.items():  # yapf: disable
        save_json(tmp_path / file, dict(figures=figures))
    s1 = str(tmp_path / 's1')
    rows = compare(
        sets, {
            'single-task': dict(vessel=str(tmp_path / 'v')),
            'stage 1': dict(vessel=s1, lesion=s1)
        })
    table = comparison_table(rows)
    assert table == [
        [
            'test set', 'task', 'class', 'images', '', 'constant',
            'single-task', 'stage 1'
        ],
        # 7 and 2 of 16 pixels: 14 / 23 and 4 / 18
        ['hidden_x', 'lesion', 'EX', '1', 'hidden', '0.609', '-', '0.500'],
        ['hidden_x', 'lesion', 'MA', '1', 'hidden', '0.222', '-', '0.100'],
        ['hidden_x', 'lesion', 'mean', '1', 'hidden', '0.415', '-', '0.300'],
        ['drive', 'vessel', 'vessel', '1', '', '0.316', '0.750', '0.700']
    ]
    lines = markdown_table(table).splitlines()
    assert lines[0].startswith('| test set | task |') and len(lines) == 6
    assert lines[1] == '| --- | --- | --- | ---: | ---: | ---: | ---: | ---: |'
