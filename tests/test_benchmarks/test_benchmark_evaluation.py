"""benchmarks/evaluation.py measures what it says."""
import numpy as np
import pytest

from benchmarks import evaluation


@pytest.mark.parametrize('kind', evaluation.KINDS)
def test_images_are_of_lesions(kind):
    prob, label = evaluation.make_image(128, kind)
    assert prob.shape == (4, 128, 128) and prob.dtype == np.float32
    assert set(np.unique(label)) == {0, 1, 2, 3, 4}
    assert 0 < (label > 0).mean() < 0.2
    inside, outside = prob[0][label == 1].mean(), prob[0][label != 1].mean()
    assert (inside > 3 * outside) == (kind == 'network')


def test_both_sides_are_timed():
    rows = evaluation.measure_speed(64, 1)
    assert [row['scores'] for row in rows] == ['network', 'uniform']
    for row in rows:
        assert row['ratio'] == row['baseline'] / row['ours'] > 0


def test_memory_is_of_a_whole_evaluation(capfd):
    found, = evaluation.measure_memory([3], 64, 1)
    assert found['images'] == 3 and found['peak_mb'] > 100
    assert 'lesion, 3 images' in capfd.readouterr().out
