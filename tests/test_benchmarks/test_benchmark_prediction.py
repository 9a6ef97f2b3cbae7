"""benchmarks/prediction.py measures what it says."""
import sys
import time

import cv2
import numpy as np
import pytest

from benchmarks import prediction
from tests.tiny_runs import ROOT


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / 'source' / 'below'
    folder.mkdir(parents=True)
    image = np.random.default_rng(0).integers(0, 255, (300, 400, 3), np.uint8)
    cv2.imwrite(str(folder / 'a.jpg'), image)
    return folder.parent


def test_photographs_have_the_size_asked_for(source, tmp_path):
    folder = prediction.scaled_photographs(source, tmp_path / 'out', 0.03, 3)
    sizes = [cv2.imread(str(p)).shape for p in sorted(folder.iterdir())]
    assert sizes == 3 * [(150, 200, 3)]


def test_a_folder_without_photographs(tmp_path):
    with pytest.raises(FileNotFoundError, match='no JPEG'):
        prediction.scaled_photographs(tmp_path, tmp_path / 'out', 1, 1)


def test_a_run_is_timed_from_its_first_result(tmp_path):
    """A stand-in for mbos predict that sleeps and works."""
    script = ('import sys, time, pathlib\n'
              'out = pathlib.Path(sys.argv[1]) / "records"\n'
              'time.sleep(0.4); out.mkdir(parents=True)\n'
              '(out / "0.json").touch(); end = time.process_time() + 0.6\n'
              'while time.process_time() < end: pass\n')
    arguments = [sys.executable, '-c', script, str(tmp_path)]
    start = time.perf_counter()
    found = prediction.run(arguments, ROOT, 1, tmp_path, 3)
    whole = time.perf_counter() - start
    assert 0.4 <= found['first'] < found['first'] + 2 * found['wall'] <= whole
    assert found['total_cpu'] >= 0.6
    assert 0 <= found['cpu'] <= found['total_cpu'] / 2
    assert found['peak_mb'] > 1


def test_a_run_that_fails_says_why(tmp_path):
    arguments = [sys.executable, '-c', 'raise SystemExit("no such luck")']
    with pytest.raises(RuntimeError, match='no such luck'):
        prediction.run(arguments, ROOT, 1, tmp_path, 1)


def test_runs_are_compared_with_the_first_side():
    rows = [
        dict(
            megapixels=12.0,
            threads=1,
            side=side,
            first=4.0,
            wall=2.0,
            cpu=cpu,
            peak_mb=900.0) for side, cpu in (('before', 4.0), ('torch', 1.0))
    ]
    last = prediction.runs_table(rows).splitlines()[-1]
    assert last.startswith('| 12 | 1 | torch | 4.0 | 2.00 | 1.00 | 30 | 900 |')
    assert last.endswith('| 0.25 |')


def test_a_step_within_another_is_not_counted_twice():
    clock = prediction.Clock()

    def work(seconds):
        end = time.process_time() + seconds
        while time.process_time() < end:
            pass

    start = time.process_time()
    with clock('draw'):
        work(0.1)
        clock.timed('write', work)(0.2)
        clock.timed('write', work)(0.1)
    whole = time.process_time() - start
    assert clock.seconds['draw'] >= 0.1 and clock.seconds['write'] >= 0.3
    assert sum(clock.seconds.values()) <= whole
