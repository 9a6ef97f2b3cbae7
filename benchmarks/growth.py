"""How a stage-2 step grows with tasks, image side and images per dataset.

example:
    python benchmarks/growth.py --out docs/images/growth

writes ``growth.json``, ``growth.svg`` and prints the table. Every point is a
process of its own, with the published network. Times are those of the
processor, so a busy machine does little harm.
"""
import argparse
import os.path as osp
import sys
from contextlib import ExitStack

if not __package__:  # started by its path
    sys.path[0] = osp.dirname(osp.dirname(osp.abspath(__file__)))

from benchmarks.speed import Side
from mbos.io.files import save_json, whole_path

BASE = dict(tasks=3, size=128, images=1)
SERIES = dict(
    tasks=(1, 2, 3, 4, 6, 8), size=(64, 128, 192, 256), images=(1, 2, 4))
LABELS = dict(
    tasks='tasks and datasets', size='image side', images='images per dataset')


def measure_point(args: argparse.Namespace, **point) -> dict:
    """Processor seconds and peak memory of a step.

    Args:
        args (argparse.Namespace): ``steps``, ``threads``, ``width``,
            ``low_memory``.
        **point: ``tasks``, ``size``, ``images``.

    Returns:
        dict: The point, ``cpu_seconds``, ``peak_mb`` and ``net_mb``, which
        leaves out what the libraries take.
    """
    settings = dict(
        point,
        case='stage2',
        side='low_memory' if args.low_memory else 'ours',
        width=args.width,
        images_per_pass='auto',
        device='cpu',
        precision='float32',
        compile=False,
        tf32=False,
        threads=args.threads)
    with ExitStack() as stack:
        side = Side(stack, settings)
        side.workers[0].hear()  # ready
        for turn in range(1 + args.steps):
            side.step(count=turn > 0)
        result = side.summary(1)
    return dict(
        point,
        cpu_seconds=result['cpu_seconds'],
        peak_mb=result['peak_mb'],
        net_mb=result['peak_mb'] - result['libraries_mb'])


def as_text(series: dict[str, list[dict]]) -> str:
    """The points as Markdown tables, one for each series."""
    lines = []
    for name, points in series.items():
        lines += [
            f'| {LABELS[name]} | CPU s per step | peak MB | '
            'without libraries |', '|---:|---:|---:|---:|'
        ]
        lines += [
            f'| {p[name]} | {p["cpu_seconds"]:.2f} | {p["peak_mb"]:.0f} | '
            f'{p["net_mb"]:.0f} |' for p in points
        ] + ['']
    return '\n'.join(lines)


def draw(series: dict[str, list[dict]], path: str) -> None:
    """Plot time and memory of each series.

    Args:
        series (dict): By name, the points.
        path (str): The picture to write.
    """
    import matplotlib
    matplotlib.use('Agg')
    import matplotlib.pyplot as plt
    figure, axes = plt.subplots(
        1,
        len(series),
        figsize=(4 * len(series), 3.2),
        layout='constrained',
        squeeze=False)
    for axis, (name, points) in zip(axes[0], series.items()):
        x = [p[name] for p in points]
        for side, figure_of, style, label in ((axis,
                                               lambda p: p['cpu_seconds'],
                                               'C0o-', 'CPU seconds per step'),
                                              (axis.twinx(),
                                               lambda p: p['net_mb'] / 1024,
                                               'C1s--',
                                               'memory above libraries, GB')):
            y = [figure_of(p) for p in points]
            side.plot(x, y, style)
            side.set_ylim(0, 1.15 * max(y))
            side.set_ylabel(label, color=style[:2])
        axis.set(xlabel=LABELS[name], xticks=x)
    figure.savefig(path, format='svg')
    plt.close(figure)


def main(argv: list[str] | None = None) -> None:
    """Measure all series, print the tables, write values and plot."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument('--out', required=True, help='path without suffix')
    parser.add_argument('--size', type=int, default=BASE['size'])
    parser.add_argument('--steps', type=int, default=1)
    parser.add_argument('--threads', type=int, default=1)
    parser.add_argument('--low-memory', action='store_true')
    parser.add_argument(
        '--width', choices=('published', 'tiny'), default='published')
    args = parser.parse_args(argv)
    base = dict(BASE, size=args.size)
    series = {
        name: [
            measure_point(args, **dict(base, **{name: value}))
            for value in SERIES[name]
        ]
        for name in SERIES
    }
    save_json(f'{args.out}.json', series)
    with whole_path(f'{args.out}.svg') as path:
        draw(series, path)
    print(as_text(series))


if __name__ == '__main__':
    main()
