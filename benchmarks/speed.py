"""Time and memory of training and inference against the release's schedule.

examples:
    python -m benchmarks.speed                       # all cases at 256x256
    python -m benchmarks.speed --check               # exit 1 on a missed goal
    python -m benchmarks.speed --size 512 --cases stage2
    python -m benchmarks.speed --device cuda --precision bf16 --compile

Every side of a case (the baseline, this library, its low-memory mode) is a
process of its own; they take their steps in turn. docs/performance.md
explains the cases and the goals.
"""
import argparse
import json
import logging
import multiprocessing
import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from statistics import median

import torch

from benchmarks.common import markdown, resident
from benchmarks.steps import count_flops, make_step
from mbos.commands import options
from mbos.commands.options import FLAG

SIDES = dict(
    stage2=('baseline', 'ours', 'low_memory'),
    stage1=('baseline', 'ours'),
    inference=('baseline', 'ours'))
IMAGES = dict(stage2=6, stage1=3, inference=1)
"""dict: Images of a step."""
MATMUL_SIDE = 2048

GOALS = {
    "stage-2 step, time over the baseline's":
    ('stage2', 'seconds', 'ours', 'baseline', 0.65),
    "stage-2 step, peak memory over the baseline's":
    ('stage2', 'peak_mb', 'ours', 'baseline', 0.30),
    "low-memory stage 2, peak memory over the baseline's":
    ('stage2', 'peak_mb', 'low_memory', 'baseline', 0.20),
    'low-memory stage 2, time over our own':
    ('stage2', 'seconds', 'low_memory', 'ours', 1.35),
    "stage-1 step, time over the baseline's": ('stage1', 'seconds', 'ours',
                                               'baseline', 0.80),
    "inference, time over the baseline's": ('inference', 'seconds', 'ours',
                                            'baseline', 0.60),
}
"""By name: case, value, side, that other side, and the highest ratio."""

# ---- in the process of a side


class Case:
    """What a process measures; ``settings`` are those of ``make_step``, and
    ``threads`` and ``tf32``.
    """

    def __init__(self, settings: dict):
        os.dup2(2, 1)  # what a library prints must not mix with the results
        logging.disable(logging.INFO)  # mmcv logs every parameter
        torch.set_num_threads(settings['threads'])
        torch.backends.cuda.matmul.allow_tf32 = settings['tf32']
        torch.backends.cudnn.allow_tf32 = settings['tf32']
        self.device = settings['device']
        self.libraries = resident('VmRSS')
        self.work = make_step(settings)

    def timed(self, act: Callable) -> dict:
        """``seconds`` of a call, and the threads' ``cpu_seconds``."""
        start, start_cpu = time.perf_counter(), time.process_time()
        act()
        if self.device != 'cpu':
            torch.cuda.synchronize()
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
            peak = torch.cuda.max_memory_allocated() / 2**20
            return dict(peak_mb=peak, libraries_mb=0.0)
        return dict(peak_mb=resident('VmHWM'), libraries_mb=self.libraries)

    def floor(self) -> dict:
        """Operations of one step, a multiply-add being two, and the seconds
        that they take at the best rate of float32 matrix products.
        """
        a = torch.randn(MATMUL_SIDE, MATMUL_SIDE, device=self.device)
        best = min(self.timed(lambda: a @ a)['seconds'] for _ in range(8))
        flops = count_flops(self.work)
        return dict(
            flops=flops, floor_seconds=flops * best / (2 * MATMUL_SIDE**3))


def ask_case(settings: dict, method: str) -> dict:
    """Call a method of this process's case, which is made at first."""
    global _case
    _case = _case or Case(settings)
    return getattr(_case, method)()


_case: Case | None = None

# ---- in the process that compares


def measure(sides: dict[str, dict],
            steps: int,
            warmup: int = 1) -> dict[str, dict]:
    """Measure sides, given by their settings, each in a process, step by step
    in turn: median times, memory, and the floor of the one named 'ours'.
    """
    context = multiprocessing.get_context('spawn')
    with ExitStack() as stack:
        pools = {
            name: stack.enter_context(ProcessPoolExecutor(1, context))
            for name in sides
        }

        def ask(name, method):
            return pools[name].submit(ask_case, sides[name], method).result()

        times = [{
            name: ask(name, 'step')
            for name in sides
        } for _ in range(warmup + steps)]
        found = {name: ask(name, 'memory') for name in sides}
        for key in ('seconds', 'cpu_seconds'):
            for name, own in found.items():
                own[key] = median(step[name][key] for step in times[warmup:])
        if 'ours' in sides:
            found['ours'] |= ask('ours', 'floor')
        return found


def settings_of(case: str, side: str, args: argparse.Namespace) -> dict:
    """What a process is asked for."""
    size = args.inference_size if case == 'inference' else args.size
    names = ('width', 'device', 'precision', 'compile', 'tf32', 'threads')
    given = {name: getattr(args, name) for name in names}
    return dict(given, case=case, side=side, size=size, tasks=3, images=1)


# ---- report


def judge(cases: dict[str, dict[str, dict]]) -> list[dict]:
    """Compare results, by case and side, with the goals for what was measured.
    """
    found = []
    for name, (case, key, side, other, bound) in GOALS.items():
        sides = cases.get(case, {})
        if side in sides and other in sides:
            value = sides[side][key] / sides[other][key]
            reached = value <= bound
            found.append(
                dict(name=name, value=value, bound=bound, reached=reached))
    return found


def as_text(report: dict) -> str:
    """``settings``, ``cases`` and ``goals`` as Markdown tables."""
    settings = report['settings']
    size, large = settings['size'], settings['inference_size']
    rows = [('case and side', 'seconds', 'CPU s', 'images/s', 'peak MB',
             'without libraries', 'TFLOP', 'share of the floor')]
    for case, sides in report['cases'].items():
        for side, found in sides.items():
            seconds, peak = found['seconds'], found['peak_mb']
            row = [
                f'{case}, {side}', f'{seconds:.2f}',
                f'{found["cpu_seconds"]:.2f}', f'{IMAGES[case] / seconds:.2f}',
                f'{peak:.0f}', f'{peak - found["libraries_mb"]:.0f}', '', ''
            ]
            if 'flops' in found:
                row[-2:] = (f'{found["flops"] / 1e12:.2f}',
                            f'{found["floor_seconds"] / seconds:.0%}')
            rows.append(row)
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


def make_parser(doc: str | None, size: int) -> argparse.ArgumentParser:
    """Options of what is measured, for several benchmarks."""
    number = dict(type=int)
    return options.make_parser(doc, [
        ('--size', 'side of training images', dict(number, default=size)),
        ('--inference-size', '', dict(number, default=1024)),
        ('--cases', '', dict(nargs='+', choices=SIDES, default=list(SIDES))),
        ('--device', 'cpu or cuda', dict(default='cpu')),
        ('--precision', 'of ours: float32, bf16, fp16',
         dict(default='float32')),
        ('--compile', 'ours through torch.compile', FLAG),
        ('--tf32', 'TF32 for both sides, on a GPU', FLAG),
        ('--steps', 'steps that count', dict(number, default=5)),
        ('--threads', '', dict(number, default=len(os.sched_getaffinity(0)))),
        ('--width', 'the network; "tiny" is for tests of this tool',
         dict(choices=('published', 'tiny'), default='published')),
    ])


def main(argv: list[str] | None = None) -> int:
    """Measure, report and check; the exit code."""
    parser = make_parser(__doc__, size=256)
    options.add_arguments(parser, [
        ('--sides', 'only these, where the memory is too small for all at '
         'once (26 GB at 512x512)',
         dict(nargs='+', choices=SIDES['stage2'], default=SIDES['stage2'])),
        ('--warmup', 'steps before them', dict(type=int, default=1)),
        ('--json', 'results as JSON', FLAG),
        ('--check', 'exit 1 if a goal is missed', FLAG),
    ])
    args = parser.parse_args(argv)
    cases = {}
    for case in args.cases:
        sides = [side for side in SIDES[case] if side in args.sides]
        settings = {side: settings_of(case, side, args) for side in sides}
        cases[case] = measure(settings, args.steps, args.warmup)
    report = dict(settings=vars(args), cases=cases, goals=judge(cases))
    print(json.dumps(report, indent=1) if args.json else as_text(report))
    missed = [g['name'] for g in report['goals'] if not g['reached']]
    if args.check and missed:
        print(f'missed: {"; ".join(missed)}', file=sys.stderr)
        return 1
    return 0


if __name__ == '__main__':
    sys.exit(main())
