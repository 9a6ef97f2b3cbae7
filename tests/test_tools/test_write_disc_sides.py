"""tools/write_disc_sides.py, from label maps to the flip that reads it."""

import numpy as np
import pytest

from mbos.commands import disc_sides as tool
from mbos.datasets import DiscSideFlip
from mbos.datasets.pipelines.disc_side import read_disc_sides
from mbos.io.labels import save_labels


def disc(column, value=1):
    """A disc of 4 x 4 pixels that begins at a column of 20."""
    labels = np.zeros((10, 20), np.uint8)
    labels[3:7, column:column + 4] = value
    labels[4:6, column + 1:column + 3] = 2
    return labels


@pytest.fixture
def maps(tmp_path):
    folder = tmp_path / 'ann'
    specks = disc(1)
    # More pixels than the disc, but none of the parts is larger.
    specks[0:10:2, 12:20:2] = 1
    ignored = disc(14)
    ignored[:, :10] = 255
    for stem, labels in dict(
            left=disc(2), right=disc(15), specks=specks,
            ignored=ignored).items():
        save_labels(str(folder / f'{stem}.png'), labels)
    return folder


def test_sides_of_label_maps(maps, tmp_path, capsys):
    path = str(tmp_path / 'sides.txt')
    assert tool.main([path, str(maps)]) == 0
    assert 'sides.txt: 2 left, 2 right' in capsys.readouterr().out
    assert read_disc_sides(path) == dict(
        left='left', right='right', specks='left', ignored='right')
    flip = DiscSideFlip(path, side='left')
    labels = disc(15)
    results = flip(
        dict(
            img=np.repeat(labels[..., None], 3, 2),
            img_info=dict(stem='right'),
            seg_fields=['labels.odoc'],
            **{'labels.odoc': labels}))
    assert (results['labels.odoc'] == labels[:, ::-1]).all()


def test_first_folder_counts(maps, tmp_path):
    other = tmp_path / 'predicted'
    save_labels(str(other / 'left.png'), disc(15))
    save_labels(str(other / 'new.png'), disc(15))
    path = str(tmp_path / 'sides.txt')
    assert tool.main([path, str(maps), str(other)]) == 0
    sides = read_disc_sides(path)
    assert len(sides) == 5
    assert (sides['left'], sides['new']) == ('left', 'right')


def test_label_maps_without_a_disc(maps, tmp_path, capsys):
    save_labels(str(maps / 'none.png'), np.zeros((10, 20), np.uint8))
    path = str(tmp_path / 'sides.txt')
    assert tool.main([path, str(maps)]) == 1
    assert 'none.png: no disc; no line is written' in capsys.readouterr().out
    assert 'none' not in read_disc_sides(path)
    assert tool.main([path, str(maps), '--without', 'left']) == 0
    assert read_disc_sides(path)['none'] == 'left'


def test_what_is_no_label_map_is_named(maps, tmp_path, capsys):
    path = tmp_path / 'sides.txt'
    assert tool.main([str(path), str(tmp_path / 'nowhere')]) == 1
    assert 'nowhere: no label map' in capsys.readouterr().err
    white = (disc(2) > 0).astype(np.uint8) * 255
    save_labels(str(maps / 'white.png'), white)
    assert tool.main([str(path), str(maps)]) == 1
    assert 'white.png: holds the values 0 and 255' in capsys.readouterr().err
    lesions = disc(2)
    lesions[0, 0] = 4
    save_labels(str(maps / 'white.png'), lesions)
    assert tool.main([str(path), str(maps)]) == 1
    assert 'white.png: expected 1 for the disc' in capsys.readouterr().err
    assert not path.exists()
