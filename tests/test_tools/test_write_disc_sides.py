"""tools/write_disc_sides.py, from label maps to the flip that reads it."""
import numpy as np
import pytest

from mbos.datasets import DiscSideFlip
from mbos.datasets.pipelines.disc_side import read_disc_sides
from mbos.io.labels import save_labels

NAME = 'write_disc_sides.py'


def disc(column):
    """A disc of 4 x 4 pixels that begins at a column of 20."""
    labels = np.zeros((10, 20), np.uint8)
    labels[3:7, column:column + 4] = 1
    labels[4:6, column + 1:column + 3] = 2
    return labels


@pytest.fixture
def maps(tmp_path):
    specks = disc(1)
    # More pixels than the disc, but none of the parts is larger.
    specks[0:10:2, 12:20:2] = 1
    ignored = disc(14)
    ignored[:, :10] = 255
    for stem, labels in dict(
            left=disc(2), right=disc(15), specks=specks,
            ignored=ignored).items():
        save_labels(str(tmp_path / f'ann/{stem}.png'), labels)
    return tmp_path / 'ann'


def test_sides_of_label_maps(maps, tool, capsys):
    assert tool(NAME, 'sides.txt', maps) is None
    assert 'sides.txt: 2 left, 2 right' in capsys.readouterr().out
    assert read_disc_sides('sides.txt') == dict(
        left='left', right='right', specks='left', ignored='right')
    flip = DiscSideFlip('sides.txt', side='left')
    labels = disc(15)
    results = flip(
        dict(
            img=np.repeat(labels[..., None], 3, 2),
            img_info=dict(stem='right'),
            seg_fields=['labels.odoc'],
            **{'labels.odoc': labels}))
    assert (results['labels.odoc'] == labels[:, ::-1]).all()


def test_first_folder_counts(maps, tool, tmp_path):
    for stem in ('left', 'new'):
        save_labels(str(tmp_path / f'predicted/{stem}.png'), disc(15))
    assert tool(NAME, 'sides.txt', maps, 'predicted') is None
    sides = read_disc_sides('sides.txt')
    assert len(sides) == 5
    assert (sides['left'], sides['new']) == ('left', 'right')


def test_label_maps_without_a_disc(maps, tool, capsys):
    save_labels(str(maps / 'none.png'), np.zeros((10, 20), np.uint8))
    assert tool(NAME, 'sides.txt', maps) == 1
    assert 'none.png: no disc; no line is written' in capsys.readouterr().out
    assert 'none' not in read_disc_sides('sides.txt')
    assert tool(NAME, 'sides.txt', maps, '--without', 'left') is None
    assert read_disc_sides('sides.txt')['none'] == 'left'


@pytest.mark.parametrize('values', [(255, 255), (1, 4)])
def test_what_is_not_a_label_map_is_named(maps, tool, tmp_path, values):
    """A mask in black and white, and a map of lesions."""
    assert 'nowhere: no label map' in tool(NAME, 'sides.txt', 'nowhere')
    other = np.zeros((10, 20), np.uint8)
    other[0, :2] = values
    save_labels(str(maps / 'other.png'), other)
    assert 'other.png: expected 1' in tool(NAME, 'sides.txt', maps)
    assert not (tmp_path / 'sides.txt').exists()
