"""Damage files of every kind and see that each is read or refused.

``python -m tests.fuzz [--cases 2000] [--seed 0] [--workers 2] [--kinds ...]``

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
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--cases', type=int, default=2000)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--workers', type=int, default=2)
    parser.add_argument('--kinds', nargs='+', choices=KINDS, default=[*KINDS])
    parser.add_argument('--only', type=int, metavar='NUMBER')
    args = parser.parse_args()
    get_root_logger().setLevel(logging.CRITICAL)
    logging.getLogger('mbos').setLevel(logging.CRITICAL)
    if args.only is not None:
        for kind in args.kinds:
            with tempfile.TemporaryDirectory() as folder:
                print(kind, args.only,
                      *judge(kind, args.only, args.seed, Path(folder)))
        return 0
    start, bad = time.time(), []

    def watch(outcome):
        if outcome.result not in GOOD:
            bad.append(outcome)
            print(
                f'{outcome.kind} {outcome.number}: {outcome.result}: '
                f'{outcome.detail}',
                flush=True)

    outcomes = run(args.cases, args.seed, args.workers, args.kinds, watch)
    print(table(outcomes))
    print(f'{len(outcomes)} cases, seed {args.seed}, {len(bad)} of them '
          f'wrong, {time.time() - start:.0f} s')
    return 1 if bad else 0


if __name__ == '__main__':
    sys.exit(main())
