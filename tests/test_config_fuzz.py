"""A few of the configs with mistakes that ``python -m tests.fuzz`` tries."""
from collections import Counter

from tests.fuzz import config_kinds
from tests.fuzz.engine import GOOD, run, table


def test_configs_are_carried_out_or_refused():
    """By every command, without a traceback; the whole one is carried out."""
    kinds = tuple(config_kinds.KINDS)
    outcomes = run(4 * len(kinds), 5, 1, kinds)
    bad = [o for o in outcomes if o.result not in GOOD]
    assert not bad, f'{bad[0]}\n{table(outcomes)}'
    found = Counter(o.result for o in outcomes)
    assert found['read'] >= len(kinds) and found['refused'] >= 3
