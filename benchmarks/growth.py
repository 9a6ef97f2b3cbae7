"""How a stage-2 step grows with tasks, image side and images per dataset.

example:
    python benchmarks/growth.py --size 64

Every point is a process of its own, with the published network. Times are
those of the processor, so a busy machine does little harm.
"""
import argparse
import os.path as osp
import sys
from contextlib import ExitStack

if not __package__:  # started by its path
    sys.path[0] = osp.dirname(osp.dirname(osp.abspath(__file__)))

from benchmarks.common import markdown
from benchmarks.speed import Side

BASE = dict(tasks=3, size=128, images=1)
SERIES = dict(
    tasks=(1, 2, 3, 4, 6, 8), size=(64, 128, 192, 256), images=(1, 2, 4))
LABELS = dict(
    tasks='tasks and datasets', size='image side', images='images per dataset')


def measure_point(args: argparse.Namespace, **point) -> dict:
    """``cpu_seconds``, ``peak_mb`` and ``libraries_mb`` of a step with so many
    ``tasks``, of a ``size``, with ``images``.
    """
    settings = dict(
        point,
        case='stage2',
        side='low_memory' if args.low_memory else 'ours',
        width=args.width,
        device='cpu',
        precision='float32',
        compile=False,
        tf32=False,
        threads=args.threads)
    with ExitStack() as stack:
        side = Side(stack, settings)
        side.hear()  # ready
        for _ in range(1 + args.steps):
            side.step()
        return side.summary(1)


def main(argv: list[str] | None = None) -> None:
    """Measure all series and print a table of each."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument('--size', type=int, default=BASE['size'])
    parser.add_argument('--steps', type=int, default=1)
    parser.add_argument('--threads', type=int, default=1)
    parser.add_argument('--low-memory', action='store_true')
    parser.add_argument(
        '--width', choices=('published', 'tiny'), default='published')
    args = parser.parse_args(argv)
    base = dict(BASE, size=args.size)
    for name, values in SERIES.items():
        rows = [(LABELS[name], 'CPU s per step', 'peak MB',
                 'without libraries')]
        for value in values:
            found = measure_point(args, **dict(base, **{name: value}))
            net = found['peak_mb'] - found['libraries_mb']
            rows.append((value, f'{found["cpu_seconds"]:.2f}',
                         f'{found["peak_mb"]:.0f}', f'{net:.0f}'))
        print(f'{markdown(rows)}\n', flush=True)


if __name__ == '__main__':
    main()
