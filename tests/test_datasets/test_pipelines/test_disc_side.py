import numpy as np
import pytest

from mbos.datasets import DiscSideFlip, find_disc_side, write_disc_sides


@pytest.mark.parametrize('column, side', [(1, 'left'), (8, 'right'),
                                          (None, None)])
def test_find_disc_side(column, side):
    labels = np.zeros((6, 10), np.uint8)
    labels[:, 5] = 255  # ignored pixels are no disc
    if column is not None:
        labels[2:4, column] = (1, 2)
    assert find_disc_side(labels) == side


def test_flip_to_the_left(tmp_path):
    path = str(tmp_path / 'sides.txt')
    write_disc_sides({'eye 1': 'right', 'eye_2': 'left'}, path)
    flip = DiscSideFlip(path)
    for stem, expected in (('eye 1', [[2, 1]]), ('eye_2', [[1, 2]])):
        labels = np.array([[1, 2]], np.uint8)
        results = flip({
            'img': np.repeat(labels[..., None], 3, 2),
            'img_info': dict(stem=stem),
            'seg_fields': ['labels.odoc'],
            'labels.odoc': labels
        })
        assert results['labels.odoc'].tolist() == expected
        assert results['img'][..., 0].tolist() == expected
    with pytest.raises(ValueError, match="no line for image 'eye_3'"):
        flip(dict(img_info=dict(stem='eye_3')))


def test_bad_side_files(tmp_path):
    path = tmp_path / 'bad.txt'
    with pytest.raises(ValueError, match='bad.txt: not found'):
        DiscSideFlip(str(path))
    path.write_text('eye_1 left\neye_2 up\n')
    with pytest.raises(ValueError, match="bad.txt: .*'eye_2 up'"):
        DiscSideFlip(str(path))
