"""Compare two evaluations, image by image.

``mbos compare A.json B.json`` or ``... FOLDER_A FOLDER_B``, of
what ``tools/test.py --eval`` wrote. Printed are the metrics of both, B - A,
its 95 % interval and p values of a paired bootstrap over images.
"""
import argparse
import json

from mbos.datasets.scoring import format_table
from mbos.evaluation import paired_comparison as pairs
from mbos.io.files import save_json, without_nan

STDOUT = '-'


def parse_args():
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument('first', metavar='A', help='eval_<set>.json or folder')
    parser.add_argument('second', metavar='B', help='the same, another model')
    parser.add_argument(
        '--metrics',
        nargs='+',
        default=list(pairs.METRICS),
        metavar='NAME',
        help='metrics to compare, means over images such as Dice-image-fov\n'
        'or pooled Dice such as Dice@val (default: %(default)s)')
    parser.add_argument(
        '--resamples', type=int, default=10000, help='default: %(default)s')
    parser.add_argument(
        '--seed', type=int, default=0, help='of the draws (default: 0)')
    parser.add_argument(
        '--json',
        nargs='?',
        const=STDOUT,
        metavar='FILE',
        help='write JSON to a file, or without FILE to the terminal in place\n'
        'of the table')
    args = parser.parse_args()
    if args.resamples < 100:
        parser.error('--resamples must be at least 100')
    return args


def main():
    """Compare and print."""
    args = parse_args()
    first = pairs.read_evaluations(args.first)
    second = pairs.read_evaluations(args.second)
    found = pairs.compare_evaluations(first, second, args.metrics,
                                      args.resamples, args.seed)
    content = dict(
        first=args.first,
        second=args.second,
        resamples=args.resamples,
        seed=args.seed,
        level=0.95,
        **found)
    if args.json == STDOUT:
        print(json.dumps(without_nan(content), indent=2, allow_nan=False))
        return
    for letter, path, sets in (('A', args.first, first), ('B', args.second,
                                                          second)):
        checkpoints = dict.fromkeys(one['checkpoint'] for one in sets.values())
        print(f'{letter}: {path} ({", ".join(checkpoints)})')
    print(format_table(pairs.difference_table(found['rows'])))
    defined = sum(row['p_value'] == row['p_value'] for row in found['rows'])
    print('Interval: 95 %, and p: two-sided, of a paired bootstrap over '
          f'images ({args.resamples} draws).\np (Holm) is corrected for all '
          f'{defined} rows that have one; better: the one that it says is, at '
          '0.05. –: undefined.')
    for note in found['notes']:
        print(f'Note: {note}')
    if args.json:
        save_json(args.json, content)
        print(f'Written to {args.json}')
