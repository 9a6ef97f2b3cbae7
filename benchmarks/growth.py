"""How a stage-2 step grows with tasks, image side and images per dataset.

example:
    python -m benchmarks.growth --size 64

Every point is a process of its own, with the published network. Times are
those of the processor, so a busy machine does little harm.
"""

from benchmarks import speed
from benchmarks.common import markdown

SERIES = {
    'tasks and datasets': ('tasks', (1, 2, 3, 4, 6, 8)),
    'image side': ('size', (64, 128, 192, 256)),
    'images per dataset': ('images', (1, 2, 4)),
}


def main(argv: list[str] | None = None) -> None:
    """Measure all series and print a table of each."""
    parser = speed.make_parser(__doc__, size=128)
    parser.set_defaults(steps=1, threads=1)
    args = parser.parse_args(argv)
    for label, (name, values) in SERIES.items():
        rows = [(label, 'CPU s per step', 'peak MB', 'without libraries')]
        for value in values:
            own = {**speed.settings_of('stage2', 'ours', args), name: value}
            found = speed.measure(dict(alone=own), args.steps)['alone']
            net = found['peak_mb'] - found['libraries_mb']
            rows.append((value, f'{found["cpu_seconds"]:.2f}',
                         f'{found["peak_mb"]:.0f}', f'{net:.0f}'))
        print(f'{markdown(rows)}\n', flush=True)


if __name__ == '__main__':
    main()
