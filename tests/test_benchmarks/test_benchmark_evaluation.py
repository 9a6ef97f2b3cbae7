"""benchmarks/evaluation.py measures what it says."""
from benchmarks import evaluation


def test_memory_is_of_a_whole_evaluation(capfd):
    found = evaluation.measure_memory(3, 64, 1)
    assert found['peak_mb'] > 100 and found['seconds'] > 0
    assert 'lesion, 3 images' in capfd.readouterr().out
