"""The quick part of the fuzzing: ``python -m tests.fuzz`` runs more."""
from collections import Counter

from tests.fuzz import config_kinds, engine


def run_well(cases, seed, kinds):
    """Outcomes by kind; fails if any is not as it must be."""
    outcomes = engine.run(range(cases), seed, 1, kinds)
    assert not [o for o in outcomes if o.result not in engine.GOOD]
    return Counter((o.kind, o.result) for o in outcomes)


def test_damaged_files_are_read_or_refused():
    """Of each kind a whole one, which is read, and a dozen damaged ones."""
    found = run_well(13, 20, engine.FILES)
    for kind in engine.FILES:
        assert found[kind, 'read'] >= 1, kind
        assert found[kind, 'refused'] >= 3, kind


def test_configs_with_mistakes_are_carried_out_or_refused():
    """By every command, without a traceback."""
    found = run_well(4, 5, config_kinds.KINDS)
    assert all(found[kind, 'read'] for kind in config_kinds.KINDS)
    assert sum(n for (_, result), n in found.items()
               if result == 'refused') >= 3


def test_the_fuzzing_sees_what_must_not_happen():
    """Each case, also after a process had to be replaced."""
    kinds = tuple(engine.FAULTY)
    outcomes = engine.run(range(2), 0, 2, kinds, timeout=2.0)
    expected = [(kind, number) for kind in kinds for number in (0, 1)]
    assert [(o.kind, o.number) for o in outcomes] == expected
    assert all(o.kind.startswith(o.result) for o in outcomes), outcomes
