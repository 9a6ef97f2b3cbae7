"""Damage files of every kind and see that each is read or refused.

Prints counts by kind and outcome; status 1 if anything happened that must
not. A case is made again with ``--kinds KIND --only NUMBER``, in this process
and with its traceback.
"""
import argparse
import logging
import sys
import tempfile
from collections import Counter
from pathlib import Path

from mmseg.utils import get_root_logger

from .engine import GOOD, KINDS, judge, run


def main():
    """Run the cases; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog='python -m tests.fuzz', description=__doc__)
    defaults = dict(cases=2000, seed=0, workers=2, only=None)
    for name, default in defaults.items():
        parser.add_argument(f'--{name}', type=int, default=default)
    parser.add_argument('--kinds', nargs='+', choices=KINDS, default=[*KINDS])
    args = parser.parse_args()
    for logger in (get_root_logger(), logging.getLogger('mbos')):
        logger.setLevel(logging.CRITICAL)
    if args.only is not None:
        with tempfile.TemporaryDirectory() as folder:
            for kind in args.kinds:
                print(kind, *judge(kind, args.only, args.seed, Path(folder)))
        return 0
    outcomes = run(args.cases, args.seed, args.workers, args.kinds)
    bad = [outcome for outcome in outcomes if outcome.result not in GOOD]
    print(*bad, sep='\n')
    counts = Counter((outcome.kind, outcome.result) for outcome in outcomes)
    for (kind, result), count in sorted(counts.items()):
        print(f'{kind:20} {result:8} {count:6}')
    print(f'{len(outcomes)} cases, seed {args.seed}, {len(bad)} of them wrong')
    return 1 if bad else 0


if __name__ == '__main__':
    sys.exit(main())
