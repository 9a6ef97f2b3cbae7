"""Time and memory of training and inference against the release's schedule.

examples:
    python -m benchmarks.speed                       # all cases at 256x256
    python -m benchmarks.speed --check               # exit 1 on a missed goal
    python -m benchmarks.speed --size 512 --cases stage2
    python -m benchmarks.speed --size 512 --accelerators
    python -m benchmarks.speed --cases stage2 --sides ours --tasks 8
    python -m benchmarks.speed --device cuda --precision bf16 --compile

The sides of a case (the baseline, this library, its low-memory mode, and it
without one of its accelerators) take turns, each time in a process of its own.
docs/performance.md explains the cases and the goals.
"""
import json
import logging
import os
import sys
import time
from argparse import Namespace
from collections import defaultdict
from statistics import median

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

from benchmarks.common import in_own_process, markdown, resident
from benchmarks.steps import make_step
from mbos.accelerate import ACCELERATORS
from mbos.commands.options import FLAG, make_parser

CASES = ('stage2', 'stage1', 'inference')
SIDES = ('baseline', 'ours', 'low_memory')
WITHOUT = tuple(f'without_{n}' for n in (*ACCELERATORS, 'allocator', 'all'))
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


def measure(settings: dict) -> dict[str, float]:
    """Measure steps in this process: median ``seconds`` and, of all threads,
    ``cpu_seconds``, peak memory and what the libraries alone take. With CUDA,
    memory is that of the GPU's allocator."""
    logging.disable(logging.INFO)  # mmcv logs every parameter
    torch.set_num_threads(settings['threads'])
    torch.backends.cuda.matmul.allow_tf32 = settings['tf32']
    torch.backends.cudnn.allow_tf32 = settings['tf32']
    on_gpu, libraries = settings['device'] != 'cpu', resident('VmRSS')
    work = make_step(settings)

    def timed(act):
        start, start_cpu = time.perf_counter(), time.process_time()
        act()
        if on_gpu:
            torch.cuda.synchronize()
        return time.perf_counter() - start, time.process_time() - start_cpu

    warmup = settings['warmup']
    times = [timed(work) for _ in range(warmup + settings['steps'])][warmup:]
    seconds, cpu_seconds = np.median(times, axis=0).tolist()
    found = dict(
        seconds=seconds,
        cpu_seconds=cpu_seconds,
        peak_mb=resident('VmHWM'),
        libraries_mb=libraries)
    if on_gpu:
        peak = torch.cuda.max_memory_allocated() / 2**20
        found.update(peak_mb=peak, libraries_mb=0.0)
    if settings['side'] == 'ours' and not settings['compile']:
        a = torch.randn(MATMUL_SIDE, MATMUL_SIDE, device=settings['device'])
        best = min(timed(lambda: a @ a)[0] for _ in range(8))
        found['flops'] = count_flops(work)
        found['floor_seconds'] = found['flops'] * best / (2 * MATMUL_SIDE**3)
    return found


def count_flops(work) -> int:
    """Operations of the matrix products and convolutions of a call, a
    multiply-add being two."""
    known = {  # torch does not know that of CPUs
        torch.ops.aten._scaled_dot_product_flash_attention_for_cpu:
        lambda q, k, v, *args, **kwargs: sdpa_flop_count(q, k, v)
    }
    with FlopCounterMode(display=False, custom_mapping=known) as counter:
        work()
    return counter.get_total_flops()


def measure_case(case: str, args: Namespace) -> dict[str, dict[str, float]]:
    """Medians of all rounds, by side."""
    rounds = defaultdict(list)
    sides = [*SIDES[:2], *WITHOUT] if args.accelerators else args.sides
    for _ in range(args.rounds):
        for side in sides:
            if side == 'low_memory' and case != 'stage2':
                continue
            settings = dict(vars(args), case=case, side=side)
            rounds[side].append(in_own_process(measure, settings))
            print(f'{case}, {side}: {rounds[side][-1]}', file=sys.stderr)
    return {
        side: {
            key: median(one[key] for one in own)
            for key in own[0]
        }
        for side, own in rounds.items()
    }


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
    rows = [('case and side', 'seconds', 'CPU s', 'ours saves', 'peak MB',
             'ours saves', 'without libraries', 'TFLOP', 'share of the floor')]
    for case, sides in report['cases'].items():
        for side, found in sides.items():
            ours, peak = sides.get('ours', found), found['peak_mb']
            time_saved, memory_saved = (f'{1 - ours[key] / found[key]:.1%}'
                                        for key in ('cpu_seconds', 'peak_mb'))
            row = [
                f'{case}, {side}', f'{found["seconds"]:.2f}',
                f'{found["cpu_seconds"]:.2f}', time_saved, f'{peak:.0f}',
                memory_saved, f'{peak - found["libraries_mb"]:.0f}', '', ''
            ]
            if 'flops' in found:
                share = found['floor_seconds'] / found['seconds']
                row[-2:] = f'{found["flops"] / 1e12:.2f}', f'{share:.0%}'
            rows.append(row)
    goals = [('goal', 'measured', 'at most', '')]
    goals += [(g['name'], f'{g["value"]:.3f}', f'{g["bound"]:.2f}',
               'reached' if g['reached'] else 'MISSED')
              for g in report['goals']]
    given = ', '.join(f'{k} {v}' for k, v in report['settings'].items())
    return (f'{given}\n\nThe floor is the time of our matrix products and '
            'convolutions, forward and backward, at the rate of float32 '
            f'matrix products.\n\n{markdown(rows)}\n\n{markdown(goals)}')


def main(argv: list[str] | None = None) -> int:
    """Measure, report and check; the exit code."""
    number = dict(type=int)
    args = make_parser(__doc__, [
        ('--size', 'side of training images', dict(number, default=256)),
        ('--inference-size', '', dict(number, default=1024)),
        ('--cases', '', dict(nargs='+', choices=CASES, default=CASES)),
        ('--sides', '', dict(
            nargs='+', choices=SIDES + WITHOUT, default=SIDES)),
        ('--accelerators', 'ours, the baseline and ours without each '
         'accelerator, in place of --sides', FLAG),
        ('--tasks', 'with a dataset each', dict(number, default=3)),
        ('--images', 'of a dataset in a step', dict(number, default=1)),
        ('--device', 'cpu or cuda', dict(default='cpu')),
        ('--precision', 'of ours: float32, bf16, fp16',
         dict(default='float32')),
        ('--compile', 'ours through torch.compile', FLAG),
        ('--tf32', 'TF32 for both sides, on a GPU', FLAG),
        ('--rounds', 'processes of a side', dict(number, default=3)),
        ('--steps', 'steps of a process that count', dict(number, default=1)),
        ('--warmup', 'steps before them', dict(number, default=1)),
        ('--threads', '', dict(number, default=len(os.sched_getaffinity(0)))),
        ('--width', 'the network; "tiny" is for tests of this tool',
         dict(choices=('published', 'tiny'), default='published')),
        ('--json', 'results as JSON', FLAG),
        ('--check', 'exit 1 if a goal is missed', FLAG),
    ]).parse_args(argv)
    cases = {case: measure_case(case, args) for case in args.cases}
    report = dict(settings=vars(args), cases=cases, goals=judge(cases))
    print(json.dumps(report, indent=1) if args.json else as_text(report))
    missed = [g['name'] for g in report['goals'] if not g['reached']]
    if args.check and missed:
        print(f'missed: {"; ".join(missed)}', file=sys.stderr)
    return int(args.check and bool(missed))


if __name__ == '__main__':
    sys.exit(main())
