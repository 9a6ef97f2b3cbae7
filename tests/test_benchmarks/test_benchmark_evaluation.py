"""benchmarks/evaluation.py measures what it says."""
from benchmarks import evaluation


def test_both_sides_are_timed():
    found = evaluation.measure_speed(64, 'network', 1)
    assert found['baseline'] > 0 and found['ours'] > 0


def test_memory_is_of_a_whole_evaluation(capfd):
    found = evaluation.measure_memory(3, 64, 1)
    assert found['peak_mb'] > 100 and found['seconds'] > 0
    assert 'lesion, 3 images' in capfd.readouterr().out
