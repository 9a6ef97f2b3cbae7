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
