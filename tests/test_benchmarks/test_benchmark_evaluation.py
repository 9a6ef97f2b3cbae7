"""benchmarks/evaluation.py measures what it says."""
from benchmarks import evaluation


def test_both_sides_are_timed():
    rows = evaluation.measure_speed(64, 1)
    assert [row['scores'] for row in rows] == ['network', 'uniform']
    for row in rows:
        assert row['ratio'] == row['baseline'] / row['ours'] > 0


def test_memory_is_of_a_whole_evaluation(capfd):
    found, = evaluation.measure_memory([3], 64, 1)
    assert found['images'] == 3 and found['peak_mb'] > 100
    assert 'lesion, 3 images' in capfd.readouterr().out
