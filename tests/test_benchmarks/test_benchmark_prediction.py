"""benchmarks/prediction.py measures what it says."""
import time

from benchmarks import prediction
from benchmarks.common import time_parts


def test_a_whole_measurement(capfd):
    prediction.main(['--quick'])
    out = capfd.readouterr().out
    row = next(r for r in out.splitlines()
               if r.startswith('| 0.3 | 1 | torch'))
    first, each, _, cpu, peak = map(float, row.strip('| ').split(' | ')[3:])
    assert 0 < each < first + each and cpu > 1 and peak > 100
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
    seconds = time_parts(Steps().draw, parts)
    assert seconds['write'] >= 0.3 > 10 * seconds['draw']
