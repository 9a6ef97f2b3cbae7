"""Damage files of every kind and see that each is read or refused.

Prints counts by kind and outcome; status 1 if anything happened that must
not. A case is made again with ``--kinds KIND --only NUMBER``, in this process
and with its traceback.
"""
import argparse
import logging
import sys
import tempfile
import time
from pathlib import Path

from mmseg.utils import get_root_logger

from .engine import GOOD, KINDS, judge, run, table


def main():
    """Run the cases; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog='python -m tests.fuzz', description=__doc__)
    parser.add_argument('--cases', type=int, default=2000)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--workers', type=int, default=2)
    parser.add_argument('--kinds', nargs='+', choices=KINDS, default=[*KINDS])
    parser.add_argument('--only', type=int, metavar='NUMBER')
    args = parser.parse_args()
    for logger in (get_root_logger(), logging.getLogger('mbos')):
        logger.setLevel(logging.CRITICAL)
    if args.only is not None:
        for kind in args.kinds:
            with tempfile.TemporaryDirectory() as folder:
                print(kind, args.only,
                      *judge(kind, args.only, args.seed, Path(folder)))
        return 0
    start = time.time()
    outcomes = run(
        args.cases, args.seed, args.workers, args.kinds,
        lambda outcome: outcome.result in GOOD or print(outcome, flush=True))
    bad = sum(outcome.result not in GOOD for outcome in outcomes)
    print(table(outcomes))
    print(f'{len(outcomes)} cases, seed {args.seed}, {bad} of them wrong, '
          f'{time.time() - start:.0f} s')
    return 1 if bad else 0


if __name__ == '__main__':
    sys.exit(main())
