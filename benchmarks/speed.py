"""Time and memory of training and inference against the release's schedule.

examples:
    python benchmarks/speed.py                       # all cases at 256x256
    python benchmarks/speed.py --check               # exit 1 on a missed goal
    python benchmarks/speed.py --size 512 --cases stage2
    python benchmarks/speed.py --device cuda --precision bf16 --compile

Every side of a case (the baseline, this library, its low-memory mode) is a
process of its own; they take their steps in turn. docs/performance.md
explains the cases and the goals.
"""
import argparse
import json
import logging
import multiprocessing
import os
import os.path as osp
import statistics
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from typing import NamedTuple

if not __package__:  # started by its path
    sys.path[0] = osp.dirname(osp.dirname(osp.abspath(__file__)))

from benchmarks.common import markdown, resident

SIDES = dict(
    stage2=('baseline', 'ours', 'low_memory'),
    stage1=('baseline', 'ours'),
    inference=('baseline', 'ours'))
IMAGES = dict(stage2=6, stage1=3, inference=1)
"""dict: Images of a step."""
MATMUL_SIDE = 2048


class Goal(NamedTuple):
    """The highest value of one side of a case over that of another."""

    name: str
    case: str
    value: str
    side: str
    other: str
    bound: float


GOALS = (
    Goal("stage-2 step, time over the baseline's", 'stage2', 'seconds', 'ours',
         'baseline', 0.65),
    Goal("stage-2 step, peak memory over the baseline's", 'stage2', 'peak_mb',
         'ours', 'baseline', 0.30),
    Goal("low-memory stage 2, peak memory over the baseline's", 'stage2',
         'peak_mb', 'low_memory', 'baseline', 0.20),
    Goal('low-memory stage 2, time over our own', 'stage2', 'seconds',
         'low_memory', 'ours', 1.35),
    Goal("stage-1 step, time over the baseline's", 'stage1', 'seconds', 'ours',
         'baseline', 0.80),
    Goal("inference, time over the baseline's", 'inference', 'seconds', 'ours',
         'baseline', 0.60),
)

# ---- in the process of a side


class Case:
    """What a process measures; ``settings`` are those of ``make_step``, and
    ``threads`` and ``tf32``.
    """

    def __init__(self, settings: dict):
        os.dup2(2, 1)  # what a library prints must not mix with the results
        logging.disable(logging.INFO)  # mmcv logs every parameter
        import torch
        self.torch = torch
        torch.set_num_threads(settings['threads'])
        torch.backends.cuda.matmul.allow_tf32 = settings['tf32']
        torch.backends.cudnn.allow_tf32 = settings['tf32']
        self.device = settings['device']
        from benchmarks import steps
        self.libraries = resident('VmRSS')
        self.work = steps.make_step(settings)
        self.count_flops = steps.count_flops

    def timed(self, act) -> dict:
        """``seconds`` of a call, and the threads' ``cpu_seconds``."""
        start, start_cpu = time.perf_counter(), time.process_time()
        act()
        if self.device != 'cpu':
            self.torch.cuda.synchronize()
        return dict(
            seconds=time.perf_counter() - start,
            cpu_seconds=time.process_time() - start_cpu)

    def step(self) -> dict:
        """Time the case once."""
        return self.timed(self.work)

    def memory(self) -> dict:
        """Peak so far, and what the libraries alone take, in MB.

        With CUDA the peak is that of the GPU's allocator.
        """
        if self.device != 'cpu':
            peak = self.torch.cuda.max_memory_allocated() / 2**20
            return dict(peak_mb=peak, libraries_mb=0.0)
        return dict(peak_mb=resident('VmHWM'), libraries_mb=self.libraries)

    def floor(self) -> dict:
        """Operations of one step, a multiply-add being two, and the seconds
        that they take at the best rate of float32 matrix products.
        """
        a = self.torch.randn(MATMUL_SIDE, MATMUL_SIDE, device=self.device)
        best = min(self.timed(lambda: a @ a)['seconds'] for _ in range(8))
        flops = self.count_flops(self.work)
        return dict(
            flops=flops, floor_seconds=flops * best / (2 * MATMUL_SIDE**3))


def ask_case(settings: dict, method: str) -> dict:
    """Call a method of this process's case, which is made at first."""
    global _case
    _case = _case or Case(settings)
    return getattr(_case, method)()


_case: Case | None = None

# ---- in the process that compares


class Side:
    """One side of a comparison: a process that ends with the ``stack``."""

    def __init__(self, stack: ExitStack, settings: dict):
        context = multiprocessing.get_context('spawn')
        self.pool = stack.enter_context(ProcessPoolExecutor(1, context))
        self.settings = settings
        self.steps: list[dict] = []

    def ask(self, method: str) -> dict:
        """What a method of the process's :class:`Case` returns."""
        return self.pool.submit(ask_case, self.settings, method).result()

    def step(self) -> None:
        """Take one step."""
        self.steps.append(self.ask('step'))

    def summary(self, warmup: int = 1) -> dict:
        """Median times and the memory."""
        found = {
            key: statistics.median(s[key] for s in self.steps[warmup:])
            for key in ('seconds', 'cpu_seconds')
        }
        return found | self.ask('memory')


def measure(case: str, args: argparse.Namespace) -> dict[str, dict]:
    """Measure all sides of a case, step by step in turn: their summaries, and
    the floor of ours.
    """
    with ExitStack() as stack:
        sides = {
            name: Side(stack, settings_of(case, name, args))
            for name in SIDES[case] if name in args.sides
        }
        for _ in range(args.warmup + args.steps):
            for side in sides.values():
                side.step()
        found = {name: s.summary(args.warmup) for name, s in sides.items()}
        if 'ours' in found:
            found['ours'] |= sides['ours'].ask('floor')
        return found


def measure_alone(settings: dict, steps: int) -> dict:
    """The summary of some steps in a process that nothing takes turns with."""
    with ExitStack() as stack:
        side = Side(stack, settings)
        for _ in range(1 + steps):
            side.step()
        return side.summary()


def settings_of(case: str, side: str, args: argparse.Namespace) -> dict:
    """What a process is asked for."""
    size = args.inference_size if case == 'inference' else args.size
    given = {
        key: getattr(args, key)
        for key in ('width', 'device', 'precision', 'compile', 'tf32',
                    'threads')
    }
    return dict(given, case=case, side=side, size=size, tasks=3, images=1)


# ---- report


def judge(cases: dict[str, dict[str, dict]]) -> list[dict]:
    """Compare results, by case and side, with the goals for what was measured.
    """
    found = []
    for goal in GOALS:
        sides = cases.get(goal.case, {})
        if goal.side in sides and goal.other in sides:
            ratio = sides[goal.side][goal.value] / sides[goal.other][
                goal.value]
            found.append(
                dict(
                    name=goal.name,
                    value=ratio,
                    bound=goal.bound,
                    reached=ratio <= goal.bound))
    return found


def as_text(report: dict) -> str:
    """``settings``, ``cases`` and ``goals`` as Markdown tables."""
    settings = report['settings']
    size, large = settings['size'], settings['inference_size']
    rows = [('case and side', 'seconds', 'CPU s', 'images/s', 'peak MB',
             'without libraries', 'TFLOP', 'share of the floor')]
    for case, sides in report['cases'].items():
        for side, found in sides.items():
            floor = ('', '')
            if 'flops' in found:
                floor = (f'{found["flops"] / 1e12:.2f}',
                         f'{found["floor_seconds"] / found["seconds"]:.0%}')
            rows.append(
                (f'{case}, {side}', f'{found["seconds"]:.2f}',
                 f'{found["cpu_seconds"]:.2f}',
                 f'{IMAGES[case] / found["seconds"]:.2f}',
                 f'{found["peak_mb"]:.0f}',
                 f'{found["peak_mb"] - found["libraries_mb"]:.0f}', *floor))
    goals = [('goal', 'measured', 'at most', '')]
    goals += [(g['name'], f'{g["value"]:.3f}', f'{g["bound"]:.2f}',
               'reached' if g['reached'] else 'MISSED')
              for g in report['goals']]
    return (f'Training images {size}x{size}, inference {large}x{large}, '
            f'{settings["device"]}, {settings["threads"]} threads, '
            f'{settings["precision"]}, median of {settings["steps"]} steps. '
            'The floor is the time of our matrix products and convolutions, '
            'forward and backward, at the rate of float32 matrix products.'
            f'\n\n{markdown(rows)}\n\n{markdown(goals)}')


def make_parser(doc: str, size: int) -> argparse.ArgumentParser:
    """Options of what is measured, for several benchmarks."""
    parser = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawTextHelpFormatter)
    add = parser.add_argument
    add('--size', type=int, default=size, help='side of training images')
    add('--inference-size', type=int, default=1024)
    add('--cases', nargs='+', choices=SIDES, default=list(SIDES))
    add('--device', default='cpu', help='cpu or cuda')
    add('--precision', default='float32', help='of ours: float32, bf16, fp16')
    add('--compile', action='store_true', help='ours through torch.compile')
    add('--tf32', action='store_true', help='TF32 for both sides, on a GPU')
    add('--steps', type=int, default=5, help='steps that count')
    add('--threads', type=int, default=len(os.sched_getaffinity(0)))
    add('--width',
        choices=('published', 'tiny'),
        default='published',
        help='the network; "tiny" is for tests of this tool')
    return parser


def main(argv: list[str] | None = None) -> int:
    """Measure, report and check; the exit code."""
    parser = make_parser(__doc__, size=256)
    add = parser.add_argument
    add('--sides',
        nargs='+',
        choices=SIDES['stage2'],
        default=SIDES['stage2'],
        help='only these, where the memory is too small for all at once\n'
        '(26 GB at 512x512)')
    add('--warmup', type=int, default=1, help='steps before them')
    add('--json', action='store_true', help='results as JSON')
    add('--check', action='store_true', help='exit 1 if a goal is missed')
    args = parser.parse_args(argv)
    cases = {case: measure(case, args) for case in args.cases}
    report = dict(settings=vars(args), cases=cases, goals=judge(cases))
    print(json.dumps(report, indent=1) if args.json else as_text(report))
    missed = [g['name'] for g in report['goals'] if not g['reached']]
    if args.check and missed:
        print(f'missed: {"; ".join(missed)}', file=sys.stderr)
        return 1
    return 0


if __name__ == '__main__':
    sys.exit(main())
