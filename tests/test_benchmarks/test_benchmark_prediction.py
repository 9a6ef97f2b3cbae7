"""benchmarks/prediction.py measures what it says."""
import sys
import time

import numpy as np
import pytest
from PIL import Image

from benchmarks import prediction
from benchmarks.common import time_parts
from mbos.io.files import save_image


def test_photographs_have_the_size_asked_for(tmp_path):
    save_image(tmp_path / 'in/below/a.jpg', np.zeros((300, 400, 3), np.uint8))
    prediction.scaled_photographs(tmp_path / 'in', tmp_path / 'out', 0.03, 3)
    sizes = [Image.open(path).size for path in (tmp_path / 'out').iterdir()]
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
    found = prediction.run(command, 1, tmp_path)
    whole = time.perf_counter() - start
    assert 0.4 <= found['first'] < found['first'] + found['wall'] <= whole
    assert 0.6 <= found['cpu'] <= whole
    assert found['peak_mb'] > 1


def test_a_run_that_fails(tmp_path, capfd):
    command = [sys.executable, '-c', 'raise SystemExit("no such luck")']
    with pytest.raises(SystemExit, match='no such luck'):
        prediction.run(command, 1, tmp_path)
    assert 'no such luck' in capfd.readouterr().err


def test_a_whole_measurement(capfd):
    prediction.main(['--quick'])
    out = capfd.readouterr().out
    assert '| 0.3 | 1 | torch | ' in out
    for step in ('read', 'resize', 'network', 'restore', 'draw', 'write'):
        assert f'| {step} | ' in out


def test_a_step_within_another_is_not_counted_twice():

    class Steps:

        def write(self, seconds):
            end = time.process_time() + seconds
            while time.process_time() < end:
                pass

        def draw(self):
            self.write(0.2)
            self.write(0.1)

    parts = [(Steps, 'draw', 'draw'), (Steps, 'write', 'write')]
    start = time.process_time()
    seconds = time_parts(Steps().draw, parts)
    whole = time.process_time() - start
    assert seconds['write'] >= 0.3 > 10 * seconds['draw']
    assert sum(seconds.values()) <= whole
