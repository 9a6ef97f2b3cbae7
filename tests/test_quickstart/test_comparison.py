"""Comparison of models on pictures of 16 pixels."""
import numpy as np
import pytest
from PIL import Image

from mbos.datasets import PartialLabelDataset
from mbos.io.files import save_json
from mbos.io.labels import save_labels
from quickstart.comparison import (compare, comparison_table, constant_dice,
                                   markdown_table)


@pytest.fixture
def test_set(tmp_path):
    """Function that makes a test set of 4x4 images from label maps."""

    def build(name='drive', folder='ann', fov=None, labels=(), **changes):
        root = tmp_path / 'data'
        (root / 'images').mkdir(parents=True, exist_ok=True)
        for i, plane in enumerate(labels):
            image = Image.new('RGB', plane.shape[::-1], (90, 40, 20))
            image.save(root / f'images/{i}.png')
            save_labels(str(root / folder / f'{i}.png'), plane)
            if fov is not None:
                save_labels(str(root / f'fov/{i}.png'), fov)
        arguments = dict(
            name=name,
            tasks=['vessel', 'lesion', 'odoc'],
            data_root=str(root),
            img_dir='images',
            img_suffix='.png',
            ann_dirs=dict(vessel=folder),
            pipeline=[],
            test_mode=True)
        arguments.update(changes)
        return PartialLabelDataset(**arguments)

    return build


def two_planes():
    """Vessels of 3 and 1 of 16 pixels, one of them unknown."""
    first, second = np.zeros((2, 4, 4), np.uint8)
    first[0, :3] = 1
    second[1, 1] = 1
    second[3, 3] = 255
    return first, second


def test_constant_predictor_by_hand(test_set):
    fov = np.ones((4, 4), np.uint8)
    fov[0, 0] = 0  # outside, where the first image has a vessel pixel
    dataset = test_set(labels=two_planes(), fov=fov)
    # predicted: 15 + 14 pixels, of which 2 + 1 are among the 3 + 1 true ones
    assert constant_dice(dataset) == {
        'vessel': {
            'vessel': pytest.approx(2 * 3 / (29 + 4))
        }
    }


def test_constant_predictor_of_nested_and_absent_classes(test_set):
    plane = np.zeros((4, 4), np.uint8)
    plane[:2] = 1  # 8 pixels of disc, no cup
    dataset = test_set(labels=[plane], ann_dirs=dict(odoc='ann'))
    found = constant_dice(dataset)['odoc']
    assert found['disc'] == pytest.approx(2 * 8 / (16 + 8))
    assert np.isnan(found['cup'])
    disc = test_set(ann_dirs=dict(odoc=dict(path='ann', classes=['disc'])))
    assert list(constant_dice(disc)['odoc']) == ['disc']


def save_figures(folder, name, **figures):
    figures = {key.replace('__', '.'): v for key, v in figures.items()}
    save_json(str(folder / f'eval_{name}.json'), dict(figures=figures))


def test_table(test_set, tmp_path):
    plane = np.zeros((4, 4), np.uint8)
    plane[:2], plane[0, 0], plane[3, 3] = 1, 4, 4  # EX and MA only
    sets = [
        test_set(
            'hidden_x',
            'lesion',
            labels=[plane],
            ann_dirs=dict(lesion='lesion')),
        test_set('drive', labels=[two_planes()[0]])
    ]
    save_figures(
        tmp_path / 's1',
        'hidden_x',
        lesion__Dice__EX=0.5,
        lesion__Dice__MA=0.1,
        lesion__Dice__HE=None)
    save_figures(tmp_path / 's1', 'drive', vessel__Dice__vessel=0.7)
    save_figures(tmp_path / 'v', 'drive', vessel__Dice__vessel=0.75)
    rows = compare(
        sets, {
            'single-task':
            dict(vessel=str(tmp_path / 'v')),
            'stage 1':
            dict(vessel=str(tmp_path / 's1'), lesion=str(tmp_path / 's1'))
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
    assert lines[0].startswith('| test set | task |')
    assert lines[1] == '| --- | --- | --- | ---: | ---: | ---: | ---: | ---: |'
    assert len(lines) == 6
