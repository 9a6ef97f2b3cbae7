"""The quick part of the fuzzing: ``python -m tests.fuzz`` runs more."""
from collections import Counter

from tests.fuzz import faulty_kinds
from tests.fuzz.engine import FILES, GOOD, Worker, run, table


def test_damaged_files_are_read_or_refused():
    """Of each kind a whole one, which is read, and a dozen damaged ones."""
    outcomes = run(13 * len(FILES), 20, 1, tuple(FILES))
    assert len(outcomes) >= 200
    bad = [o for o in outcomes if o.result not in GOOD]
    assert not bad, f'{bad[0]}\n{table(outcomes)}'
    found = Counter((o.kind, o.result) for o in outcomes)
    for kind in FILES:
        assert found[kind, 'read'] >= 1, kind
        assert found[kind, 'refused'] >= 3, kind


def test_the_fuzzing_sees_what_must_not_happen():
    """Each case, also after a process had to be replaced."""
    kinds = tuple(faulty_kinds.KINDS)
    found = {
        (o.kind, o.number): o.result
        for o in run(2 * len(kinds), 0, 2, kinds, timeout=2.0)
    }
    expected = dict(
        crash='crash',
        hang='hang',
        unexplained='unexplained',
        unnamed='unnamed',
        memory='unexplained',
        written='half-written',
        ran_code='ran code',
        harmless='read')
    assert found == {
        (kind, number): result
        for kind, result in expected.items()
        for number in (0, 1)
    }


def test_a_worker_ends(tmp_path):
    worker = Worker(0, tmp_path)
    worker.end()
    assert not worker.process.is_alive()
