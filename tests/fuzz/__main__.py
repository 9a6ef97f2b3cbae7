"""Damage files of every kind and see that each is read or refused.

Prints counts by kind and outcome; status 1 if anything happened that must
not. A case is made again with ``--kinds KIND --only NUMBER``.
"""
import argparse
import sys
from collections import Counter

from .engine import GOOD, KINDS, run


def main():
    """Run the cases; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog='python -m tests.fuzz', description=__doc__)
    defaults = dict(cases=2000, seed=0, workers=2, only=None)
    for name, default in defaults.items():
        parser.add_argument(f'--{name}', type=int, default=default)
    parser.add_argument('--kinds', nargs='+', choices=KINDS, default=[*KINDS])
    args = parser.parse_args()
    numbers = range(-(-args.cases // len(args.kinds)))
    if args.only is not None:
        numbers = [args.only]
    outcomes = run(numbers, args.seed, args.workers, args.kinds)
    bad = [outcome for outcome in outcomes if outcome.result not in GOOD]
    for outcome in bad:
        print(*outcome)
    counts = Counter((outcome.kind, outcome.result) for outcome in outcomes)
    for (kind, result), count in sorted(counts.items()):
        print(f'{kind:20} {result:8} {count:6}')
    print(f'{len(outcomes)} cases, seed {args.seed}, {len(bad)} of them wrong')
    return 1 if bad else 0


if __name__ == '__main__':
    sys.exit(main())
