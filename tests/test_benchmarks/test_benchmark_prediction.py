"""benchmarks/prediction.py measures what it says."""
import sys
import time

import numpy as np
import pytest
from PIL import Image

from benchmarks import prediction
from benchmarks.common import Clock
from mbos.io.files import save_image
from tests.tiny_runs import ROOT


def test_photographs_have_the_size_asked_for(tmp_path):
    folder = tmp_path / 'source/below'
    save_image(folder / 'a.jpg', np.zeros((300, 400, 3), np.uint8))
    out = prediction.scaled_photographs(folder.parent, tmp_path / 'out', 0.03,
                                        3)
    sizes = [Image.open(path).size for path in out.iterdir()]
    assert sizes == 3 * [(200, 150)]


def test_a_run_is_timed_from_its_first_result(tmp_path):
    """A stand-in for mbos predict that sleeps and works."""
    script = ('import sys, time, pathlib\n'
              'out = pathlib.Path(sys.argv[1]) / "records"\n'
              'time.sleep(0.4); out.mkdir(parents=True)\n'
              '(out / "0.json").touch(); end = time.process_time() + 0.6\n'
              'while time.process_time() < end: pass\n')
    command = [sys.executable, '-c', script, str(tmp_path)]
    start = time.perf_counter()
    found = prediction.run(command, ROOT, 1, tmp_path, 3)
    whole = time.perf_counter() - start
    assert 0.4 <= found['first'] < found['first'] + 2 * found['wall'] <= whole
    assert 0.6 <= found['cpu'] <= whole
    assert found['peak_mb'] > 1


def test_a_run_that_fails(tmp_path, capfd):
    command = [sys.executable, '-c', 'raise SystemExit("no such luck")']
    with pytest.raises(SystemExit, match='no such luck'):
        prediction.run(command, ROOT, 1, tmp_path, 1)
    assert 'no such luck' in capfd.readouterr().err


def test_runs_are_compared_with_the_first_side():
    row = dict(megapixels=12.0, cores=1, first=4.0, wall=2.0, peak_mb=900.0)
    rows = [
        dict(row, side='before', cpu=4.0),
        dict(row, side='torch', cpu=1.0)
    ]
    last = prediction.runs_table(rows).splitlines()[-1]
    assert last == ('| 12 | 1 | torch | 4.0 | 2.00 | 30 | 1.00 | 900 | '
                    '0.25 |')


def test_a_step_within_another_is_not_counted_twice():
    clock = Clock()

    def work(seconds, inner=()):
        end = time.process_time() + seconds
        while time.process_time() < end:
            pass
        for one in inner:
            clock('write', work)(one)

    start = time.process_time()
    clock('draw', work)(0.1, (0.2, 0.1))
    whole = time.process_time() - start
    assert 0.1 <= clock.seconds['draw'] < 0.2
    assert clock.seconds['write'] >= 0.3
    assert sum(clock.seconds.values()) <= whole
