"""Compare two evaluations, image by image.

``mbos compare A.json B.json`` or ``... FOLDER_A FOLDER_B``, of
what ``tools/test.py --eval`` wrote. Printed are the metrics of both, B - A,
its 95 % interval and p values of a paired bootstrap over images.
"""
import json

from mbos.datasets.scoring import format_table
from mbos.evaluation import paired_comparison as pairs
from mbos.io.files import save_json, without_nan
from mbos.metrics.bootstrap import Bootstrap
from .options import make_parser

ARGUMENTS = [
    ('first', 'eval_<set>.json or folder', dict(metavar='A')),
    ('second', 'the same, another model', dict(metavar='B')),
    ('--metrics', 'metrics to compare, means over images such as '
     'Dice-image-fov or pooled Dice such as Dice@val (default: %(default)s)',
     dict(nargs='+', default=list(pairs.METRICS), metavar='NAME')),
    ('--resamples', 'default: %(default)s', dict(type=int, default=10000)),
    ('--seed', 'of the draws (default: 0)', dict(type=int, default=0)),
    ('--json', 'write JSON, without FILE to the terminal instead of the table',
     dict(nargs='?', const='-', metavar='FILE')),
]


def main() -> None:
    """Compare and print."""
    parser = make_parser(__doc__, ARGUMENTS)
    args = parser.parse_args()
    if args.resamples < 100:
        parser.error('--resamples must be at least 100')
    first, second = map(pairs.read_evaluations, (args.first, args.second))
    bootstrap = Bootstrap(args.resamples, seed=args.seed)
    found = pairs.compare_evaluations(first, second, args.metrics, bootstrap)
    paths = dict(first=args.first, second=args.second)
    content = paths | vars(bootstrap) | found
    if args.json == '-':
        print(json.dumps(without_nan(content), indent=2, allow_nan=False))
        return
    for letter, path, side in zip('AB', paths.values(), (first, second)):
        made_by = dict.fromkeys(e['checkpoint'] for e in side.values())
        print(f'{letter}: {path} ({", ".join(made_by)})')
    print(format_table(pairs.difference_table(found['rows'])))
    defined = sum(row['p_value'] == row['p_value'] for row in found['rows'])
    print('95 % interval and two-sided p of a paired bootstrap over images '
          f'({args.resamples} draws).\np (Holm) is corrected for all '
          f'{defined} rows that have one; better: at 0.05. nan: undefined.')
    for note in found['notes']:
        print(f'Note: {note}')
    if args.json:
        save_json(args.json, content)
        print(f'Written to {args.json}')
