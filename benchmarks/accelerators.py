"""What each accelerator of mbos.accelerate is worth on CPU.

examples:
    python -m benchmarks.accelerators                 # 512x512 and 1024x1024
    python -m benchmarks.accelerators --cases inference --rounds 5

The published stage-2 step, or an inference, with all accelerators, with all
but one, with none, and by the schedule of the published release, each in a
process of its own, in turn. Time is that of the processor, all threads
together, so that a busy machine does little harm; the first step of a process
is not counted.
"""
import sys
from collections import defaultdict
from statistics import median

from benchmarks import speed
from benchmarks.common import markdown
from mbos.accelerate import ACCELERATORS

WORTH_KEEPING = 0.05
"""float: Share of the time or the memory that an accelerator must save in one
case at least; others are not kept in the library."""

WAYS = {
    'nothing': dict(),
    **{
        name: dict(without=[name])
        for name in ACCELERATORS
    },
    "the allocator's setting": dict(without=['allocator']),
    'all of them': dict(without=[*ACCELERATORS, 'allocator']),
    "the release's schedule": dict(side='baseline'),
}
"""dict[str, dict]: What is left out, and changes of ``make_step``'s settings
for it."""


def table_row(case: str, way: str, fast: list[dict],
              slow: list[dict]) -> tuple:
    """Medians of the rounds of a way, and of the shares that all accelerators
    save of it.
    """
    cells, best = [], 0.0
    for key, style in (('cpu_seconds', '.2f'), ('peak_mb', '.0f')):
        saved = 1 - median(f[key] / s[key] for f, s in zip(fast, slow))
        best = max(best, saved)
        cells += [format(median(s[key] for s in slow), style), f'{saved:.1%}']
    is_part = len(WAYS[way].get('without', ())) == 1
    kept = 'yes' if best >= WORTH_KEEPING else 'no'
    return (f'{case}: {way}', *cells, kept if is_part else '')


def main(argv: list[str] | None = None) -> None:
    """Measure all that is asked for and print it."""
    parser = speed.make_parser(__doc__, size=512)
    parser.add_argument('--rounds', type=int, default=3)
    parser.set_defaults(cases=['stage2', 'inference'], steps=1)
    args = parser.parse_args(argv)
    rows = [('case, without', 'CPU s', 'saved', 'peak MB', 'saved', 'kept')]
    for case in args.cases:
        found, settings = defaultdict(list), speed.settings_of(
            case, 'ours', args)
        for _ in range(args.rounds):
            for way, change in WAYS.items():
                own = dict(alone={**settings, **change})
                found[way].append(speed.measure(own, args.steps)['alone'])
                print(f'{case}, {way}: {found[way][-1]}', file=sys.stderr)
        rows += [table_row(case, w, found['nothing'], found[w]) for w in WAYS]
    print(f'Training images {args.size}x{args.size}, inference '
          f'{args.inference_size}x{args.inference_size}, {args.threads} '
          f'thread(s), medians of {args.rounds} rounds. Kept is what saves '
          f'{WORTH_KEEPING:.0%} of time or memory.\n\n{markdown(rows)}')


if __name__ == '__main__':
    main()
