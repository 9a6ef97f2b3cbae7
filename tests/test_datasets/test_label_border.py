"""The published labels of REFUGE's padding."""
import numpy as np
import pytest

from mbos.datasets import LabelBorder


def test_rows_at_top_and_bottom():
    plane = np.zeros((5, 2), np.uint8)
    results = {'labels.odoc': plane, 'labels.vessel': plane}
    border = LabelBorder('odoc', label=2, top=1, bottom=2)
    out = border(results)
    assert out['labels.odoc'][:, 0].tolist() == [2, 0, 0, 2, 2]
    assert out['labels.odoc'].dtype == np.uint8
    assert not plane.any() and not out['labels.vessel'].any()


def test_no_rows_and_absent_planes():
    results = {'labels.odoc': np.ones((2, 2), np.uint8)}
    assert LabelBorder('odoc', 2, 0, 0)(results)['labels.odoc'].all()
    assert (results['labels.odoc'] == 1).all()
    assert LabelBorder('lesion', 2, 1, 1)(results) is results
    with pytest.raises(ValueError, match='-1 and 0'):
        LabelBorder('odoc', 2, -1, 0)


def test_rows_of_an_image_of_another_height():
    results = {'labels.odoc': np.zeros((2048, 1), np.uint8)}
    border = LabelBorder('odoc', 2, top=34, bottom=34, height=2124)
    rows = np.flatnonzero(border(results)['labels.odoc'])
    # 34 x 2048 / 2124 = 32.8
    assert rows.tolist() == [*range(33), *range(2015, 2048)]
