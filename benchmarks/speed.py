"""Time and memory of training and inference against the release's schedule.

examples:
    python benchmarks/speed.py                       # all cases at 256x256
    python benchmarks/speed.py --check               # exit 1 on a missed goal
    python benchmarks/speed.py --size 512 --stage 2
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
import tempfile
import time
from contextlib import ExitStack, suppress
from typing import NamedTuple
from unittest import mock

if not __package__:  # started by its path
    sys.path[0] = osp.dirname(osp.dirname(osp.abspath(__file__)))

from benchmarks.common import markdown, resident

SIDES = dict(
    stage2=('baseline', 'ours', 'low_memory'),
    stage1=('baseline', 'ours'),
    inference=('baseline', 'ours'),
    processes=('one', 'two'))
MATMUL_SIDE = 2048


class Goal(NamedTuple):
    """A bound on a value of one side of a case over that of another."""

    name: str
    case: str
    value: str
    side: str
    other: str
    bound: float
    at_most: bool = True


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
    Goal("two processes, images per second over one's", 'processes',
         'images_per_second', 'two', 'one', 1.0, False),
)


class BenchmarkError(RuntimeError):
    """A measurement did not come to its end."""


# ---- in the process of a side


def serve(connection, settings: dict) -> None:
    """Answer commands, which are the names of methods of :class:`Case`."""
    os.dup2(2, 1)  # what a library prints must not mix with the results
    logging.disable(logging.INFO)  # mmcv logs every parameter
    case = Case(settings)
    connection.send('ready')
    with suppress(EOFError):  # the other end was closed
        while True:
            connection.send(getattr(case, connection.recv())())


class Case:
    """What a process measures; ``settings`` are those of :func:`make_step`,
    and ``threads``, ``tf32``, ``rank``, ``world``, ``meeting`` (a file where
    the processes meet).
    """

    def __init__(self, settings: dict):
        import torch
        self.torch = torch
        torch.set_num_threads(settings['threads'])
        torch.backends.cuda.matmul.allow_tf32 = settings['tf32']
        torch.backends.cudnn.allow_tf32 = settings['tf32']
        if settings['world'] > 1:
            torch.distributed.init_process_group(
                'gloo' if settings['device'] == 'cpu' else 'nccl',
                init_method=f'file://{settings["meeting"]}',
                rank=settings['rank'],
                world_size=settings['world'])
        self.cuda = settings['device'].startswith('cuda')
        from benchmarks import steps
        self.libraries = resident('VmRSS')
        self.work = steps.make_step(settings)
        self.count_flops = steps.count_flops

    def step(self) -> dict:
        """Run the case once: ``seconds``, and the threads' ``cpu_seconds``."""
        if self.torch.distributed.is_initialized():
            self.torch.distributed.barrier()
        start, start_cpu = time.perf_counter(), time.process_time()
        self.work()
        if self.cuda:
            self.torch.cuda.synchronize()
        return dict(
            seconds=time.perf_counter() - start,
            cpu_seconds=time.process_time() - start_cpu)

    def memory(self) -> dict:
        """Peak so far, and what the libraries alone take, in MB.

        With CUDA the peak is that of the GPU's allocator.
        """
        if self.cuda:
            peak = self.torch.cuda.max_memory_allocated() / 2**20
            return dict(peak_mb=peak, libraries_mb=0.0)
        return dict(peak_mb=resident('VmHWM'), libraries_mb=self.libraries)

    def floor(self) -> dict:
        """Operations of one step, a multiply-add being two, and the best rate
        of float32 matrix products, in FLOP/s.
        """
        a = self.torch.randn(
            MATMUL_SIDE, MATMUL_SIDE, device='cuda' if self.cuda else 'cpu')
        best = float('inf')
        for _ in range(8):
            start = time.perf_counter()
            a @ a
            if self.cuda:
                self.torch.cuda.synchronize()
            best = min(best, time.perf_counter() - start)
        return dict(
            flops=self.count_flops(self.work),
            matmul_rate=2 * MATMUL_SIDE**3 / best)


# ---- in the process that compares


class Side:
    """One side of a comparison: a process, or several that train together.

    They end with the ``stack``.
    """

    def __init__(self, stack: ExitStack, settings: dict, processes: int = 1):
        self.name = f'{settings["case"]}, {settings["side"]}'
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        context = multiprocessing.get_context('spawn')
        threads = str(settings['threads'])
        self.workers = []
        for rank in range(processes):
            connection, other = context.Pipe()
            process = context.Process(
                target=serve,
                args=(other,
                      dict(
                          settings,
                          rank=rank,
                          world=processes,
                          meeting=osp.join(folder, 'meeting'))))
            with mock.patch.dict(
                    os.environ, OMP_NUM_THREADS=threads,
                    MKL_NUM_THREADS=threads):
                process.start()
            other.close()
            stack.callback(process.join)
            stack.callback(connection.close)
            self.workers.append((process, connection))
        self.steps: list[dict] = []

    def hear(self) -> list:
        """Wait for an answer of every process.

        Raises:
            BenchmarkError: If one ended without an answer.
        """
        try:
            return [connection.recv() for _, connection in self.workers]
        except (EOFError, ConnectionResetError) as error:
            for process, _ in self.workers:
                process.join(5)
            code = next(p.exitcode for p, _ in self.workers if p.exitcode)
            raise BenchmarkError(
                f'The process of "{self.name}" ended with code {code}; its '
                'error stands above'
                f'{". It was killed: too little memory?" * (code == -9)}'
            ) from error

    def ask(self, command: str) -> list:
        """Send a command to all processes; their answers."""
        for _, connection in self.workers:
            with suppress(BrokenPipeError):  # hear() says so
                connection.send(command)
        return self.hear()

    def step(self) -> None:
        """Take one step."""
        answers = self.ask('step')
        self.steps.append(
            dict(
                seconds=max(a['seconds'] for a in answers),
                cpu_seconds=sum(a['cpu_seconds'] for a in answers)))

    def summary(self, images: int, warmup: int = 1) -> dict:
        """The median time, the images per second, the memory."""
        memory = self.ask('memory')
        medians = {
            key: statistics.median(s[key] for s in self.steps[warmup:])
            for key in ('seconds', 'cpu_seconds')
        }
        return dict(
            **medians,
            all_seconds=[s['seconds'] for s in self.steps[warmup:]],
            images_per_second=images * len(self.workers) / medians['seconds'],
            peak_mb=sum(m['peak_mb'] for m in memory),
            libraries_mb=sum(m['libraries_mb'] for m in memory))


def measure(case: str, args: argparse.Namespace) -> dict[str, dict]:
    """Measure all sides of a case, step by step in turn.

    Returns:
        dict[str, dict]: By side, what :meth:`Side.summary` gives; of ours
        also ``flops``, ``matmul_rate``, and with these ``floor_seconds`` and
        ``floor``, the share of it reached.
    """
    with ExitStack() as stack:
        running, images = {}, {}
        for name in SIDES[case]:
            if args.sides and name not in (*args.sides, 'one', 'two'):
                continue
            settings = settings_of(case, name, args)
            running[name] = Side(stack, settings, 2 if name == 'two' else 1)
            images[name] = 1 if case == 'inference' else (
                settings['tasks'] * (2 if settings['case'] == 'stage2' else 1))
        for side in running.values():
            side.hear()  # ready
        for _ in range(args.warmup + args.steps):
            for side in running.values():
                side.step()
        results = {
            name: side.summary(images[name], args.warmup)
            for name, side in running.items()
        }
        if 'ours' in running:
            ours = results['ours']
            ours.update(running['ours'].ask('floor')[0])
            ours['floor_seconds'] = ours['flops'] / ours['matmul_rate']
            ours['floor'] = ours['floor_seconds'] / ours['seconds']
        return results


def settings_of(case: str, side: str, args: argparse.Namespace) -> dict:
    """What a process is asked for."""
    step = f'stage{max(args.stages)}' if case == 'processes' else case
    return dict(
        case=step,
        side='ours' if side in ('one', 'two') else side,
        size=args.inference_size if case == 'inference' else args.size,
        width=args.width,
        tasks=3,
        images=1,
        device=args.device,
        precision=args.precision,
        compile=args.compile,
        tf32=args.tf32,
        threads=max(1, args.threads // 2) if side == 'two' else args.threads)


# ---- report


def judge(cases: dict[str, dict[str, dict]]) -> list[dict]:
    """Compare results, by case and side, with the goals for what was measured.
    """
    found = []
    for goal in GOALS:
        sides = cases.get(goal.case, {})
        if goal.side in sides and goal.other in sides:
            value = sides[goal.side][goal.value] / sides[goal.other][
                goal.value]
            reached = (
                value <= goal.bound if goal.at_most else value >= goal.bound)
            found.append(
                dict(
                    name=goal.name,
                    value=value,
                    bound=goal.bound,
                    at_most=goal.at_most,
                    reached=reached))
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
                         f'{found["floor"]:.0%}')
            rows.append(
                (f'{case}, {side}', f'{found["seconds"]:.2f}',
                 f'{found["cpu_seconds"]:.2f}',
                 f'{found["images_per_second"]:.2f}',
                 f'{found["peak_mb"]:.0f}',
                 f'{found["peak_mb"] - found["libraries_mb"]:.0f}', *floor))
    goals = [('goal', 'measured', 'bound', '')]
    goals += [(g['name'], f'{g["value"]:.3f}',
               f'{"<=" if g["at_most"] else ">="} {g["bound"]:.2f}',
               'reached' if g['reached'] else 'MISSED')
              for g in report['goals']]
    return (f'Training images {size}x{size}, inference {large}x{large}, '
            f'{settings["device"]}, {settings["threads"]} threads, '
            f'{settings["precision"]}, median of {settings["steps"]} steps. '
            'The floor is the time of our matrix products and convolutions, '
            'forward and backward, at the rate of float32 matrix products.'
            f'\n\n{markdown(rows)}\n\n{markdown(goals)}')


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    add = parser.add_argument
    add('--size', type=int, default=256, help='side of training images')
    add('--inference-size', type=int, default=1024)
    add('--device', default='cpu', help='cpu or cuda')
    add('--stage',
        type=int,
        choices=(1, 2),
        help='only this stage (default: both)')
    add('--cases', nargs='+', choices=SIDES, help='only these cases')
    add('--sides',
        nargs='+',
        choices=SIDES['stage2'],
        help='only these sides of stages and inference, where the memory is\n'
        'too small for all at once (26 GB at 512x512)')
    add('--precision', default='float32', help='of ours: float32, bf16, fp16')
    add('--compile', action='store_true', help='ours through torch.compile')
    add('--tf32', action='store_true', help='TF32 for both sides, on a GPU')
    add('--steps', type=int, default=5, help='steps that count')
    add('--warmup', type=int, default=1, help='steps before them')
    add('--threads', type=int, default=len(os.sched_getaffinity(0)))
    add('--width',
        choices=('published', 'tiny'),
        default='published',
        help='the network; "tiny" is for tests of this tool')
    add('--json', action='store_true', help='results as JSON')
    add('--check', action='store_true', help='exit 1 if a goal is missed')
    args = parser.parse_args(argv)
    args.stages = (args.stage, ) if args.stage else (1, 2)
    if args.sides and args.check:
        parser.error('--check compares all sides: leave out --sides')
    if args.cases is None:
        left_out = {1: 'stage2', 2: 'stage1'}.get(args.stage)
        args.cases = [c for c in SIDES if c != left_out]
        if args.device != 'cpu':
            args.cases.remove('processes')
    return args


def main(argv: list[str] | None = None) -> int:
    """Measure, report and check; the exit code."""
    args = parse_args(argv)
    cases = {case: measure(case, args) for case in args.cases}
    report = dict(settings=vars(args), cases=cases, goals=judge(cases))
    print(json.dumps(report, indent=1) if args.json else as_text(report))
    missed = [g['name'] for g in report['goals'] if not g['reached']]
    if args.check and missed:
        print(f'missed: {"; ".join(missed)}', file=sys.stderr)
        return 1
    return 0


if __name__ == '__main__':
    try:
        sys.exit(main())
    except BenchmarkError as error:
        sys.exit(f'benchmark: {error}')
