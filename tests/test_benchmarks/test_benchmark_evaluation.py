"""benchmarks/evaluation.py measures what it says."""
import json
import subprocess
import sys

import numpy as np
import pytest

from benchmarks import evaluation
from tests.tiny_runs import ROOT

TOOL = str(ROOT / 'benchmarks/evaluation.py')


@pytest.mark.parametrize('kind', ['network', 'uniform'])
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


def test_memory_is_of_a_whole_evaluation():
    done = subprocess.run(
        [sys.executable, TOOL, 'memory', '--child', '3', '--size', '64'],
        stdout=subprocess.PIPE,
        text=True,
        check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    assert found['images'] == 3 and found['peak_mb'] > 100
    assert 'lesion, 3 images' in done.stdout
