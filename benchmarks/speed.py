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
import os
import os.path as osp
import statistics
import subprocess
import sys
import tempfile
from contextlib import ExitStack

if not __package__:  # started by its path
    sys.path[0] = osp.dirname(osp.dirname(osp.abspath(__file__)))

from benchmarks import report as reports

HERE = osp.dirname(osp.abspath(__file__))
SIDES = dict(
    stage2=('baseline', 'ours', 'low_memory'),
    stage1=('baseline', 'ours'),
    inference=('baseline', 'ours'),
    processes=('one', 'two'))
CASES = (*SIDES, 'data')


class BenchmarkError(RuntimeError):
    """A measurement did not come to its end."""


class Worker:
    """A process of ``worker.py``.

    Args:
        settings (dict): What it shall measure.
    """

    def __init__(self, settings: dict):
        self.name = f'{settings["case"]}, {settings["side"]}'
        threads = str(settings['threads'])
        self.process = subprocess.Popen([
            sys.executable,
            osp.join(HERE, 'worker.py'),
            json.dumps(settings)
        ],
                                        stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE,
                                        text=True,
                                        env=dict(
                                            os.environ,
                                            OMP_NUM_THREADS=threads,
                                            MKL_NUM_THREADS=threads))

    def tell(self, command: str) -> None:
        """Send a command."""
        try:
            self.process.stdin.write(command + '\n')
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # the answer is missing then, and hear() says so

    def hear(self) -> dict:
        """Wait for the answer to a command.

        Raises:
            BenchmarkError: If the process ended without one.
        """
        line = self.process.stdout.readline()
        if not line:
            code = self.process.wait()
            raise BenchmarkError(
                f'The process of "{self.name}" ended with code {code}; its '
                'error stands above'
                f'{". It was killed: too little memory?" * (code == -9)}')
        return json.loads(line)

    def ask(self, command: str) -> dict:
        """Send a command and wait for its answer."""
        self.tell(command)
        return self.hear()

    def stop(self) -> None:
        """End the process."""
        self.process.stdin.close()
        try:
            self.process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()


class Side:
    """One side of a comparison: a process, or two that train together.

    Args:
        stack (ExitStack): Ends the processes.
        settings (dict): Of the workers.
        processes (int): How many.
    """

    def __init__(self, stack: ExitStack, settings: dict, processes: int = 1):
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        self.workers = []
        for rank in range(processes):
            worker = Worker(
                dict(
                    settings,
                    rank=rank,
                    world=processes,
                    meeting=osp.join(folder, 'meeting')))
            stack.callback(worker.stop)
            self.workers.append(worker)
        self.seconds, self.cpu_seconds = [], []

    def all(self, command: str) -> list[dict]:
        """Send a command to all processes; their answers."""
        for worker in self.workers:
            worker.tell(command)
        return [worker.hear() for worker in self.workers]

    def step(self, count: bool) -> None:
        """One step; ``count`` is whether its time is kept."""
        answers = self.all('step')
        if count:
            self.seconds.append(max(a['seconds'] for a in answers))
            self.cpu_seconds.append(sum(a['cpu_seconds'] for a in answers))

    def summary(self, images: int) -> dict:
        """The median time, the images per second, the memory."""
        memory = self.all('memory')
        seconds = statistics.median(self.seconds)
        return dict(
            seconds=seconds,
            all_seconds=self.seconds,
            cpu_seconds=statistics.median(self.cpu_seconds),
            images_per_second=images * len(self.workers) / seconds,
            peak_mb=sum(m['peak_mb'] for m in memory),
            libraries_mb=sum(m['libraries_mb'] for m in memory))


def measure(case: str, args: argparse.Namespace, **changes) -> dict[str, dict]:
    """Measure all sides of a case, step by step in turn.

    Args:
        case (str): A key of ``SIDES``.
        args (argparse.Namespace): The command line.
        **changes: Settings of the workers to change, and ``sides``.

    Returns:
        dict[str, dict]: By side, ``seconds``, ``cpu_seconds`` (of all
        threads), ``images_per_second``, ``peak_mb``, ``libraries_mb``; of
        ours also what :func:`add_floor` adds.
    """
    chosen = [s for s in SIDES[case] if not args.sides or s in args.sides]
    sides = changes.pop('sides', chosen)
    with ExitStack() as stack:
        running, settings = {}, {}
        for name in sides:
            settings[name] = dict(settings_of(case, name, args), **changes)
            running[name] = Side(stack, settings[name],
                                 2 if name == 'two' else 1)
        for side in running.values():
            for worker in side.workers:
                worker.hear()  # ready
        for turn in range(args.warmup + args.steps):
            for side in running.values():
                side.step(count=turn >= args.warmup)
        results = {
            name: side.summary(images_of(settings[name]))
            for name, side in running.items()
        }
        if 'ours' in running:
            add_floor(results['ours'], running['ours'].workers[0])
        return results


def add_floor(result: dict, worker: Worker) -> None:
    """Add what the arithmetic alone would take.

    Args:
        result (dict): Gets ``flops``, ``matmul_rate`` in FLOP/s,
            ``floor_seconds`` and ``floor``, the share of it reached.
        worker (Worker): Its process.
    """
    result['flops'] = worker.ask('flops')['flops']
    result['matmul_rate'] = worker.ask('matmul')['rate']
    result['floor_seconds'] = result['flops'] / result['matmul_rate']
    result['floor'] = result['floor_seconds'] / result['seconds']


def settings_of(case: str, side: str, args: argparse.Namespace) -> dict:
    """What a worker is asked for."""
    step = f'stage{max(args.stages)}' if case == 'processes' else case
    return dict(
        case=step,
        side='ours' if side in ('one', 'two') else side,
        size=args.inference_size if case == 'inference' else args.size,
        width=args.width,
        tasks=3,
        images=1,
        images_per_pass='auto',
        device=args.device,
        precision=args.precision,
        compile=args.compile,
        tf32=args.tf32,
        threads=max(1, args.threads // 2) if side == 'two' else args.threads)


def images_of(settings: dict) -> int:
    """Images that one step of one process takes."""
    datasets = settings['tasks'] * (2 if settings['case'] == 'stage2' else 1)
    return 1 if settings['case'] == 'inference' else (settings['images'] *
                                                      datasets)


def measure_data() -> dict:
    """What ``benchmarks/data.py`` measures."""
    tool = osp.join(HERE, 'data.py')
    done = subprocess.run([sys.executable, tool, '--json'],
                          stdout=subprocess.PIPE,
                          text=True)
    if done.returncode:
        raise BenchmarkError(f'{tool} ended with code {done.returncode}.')
    return json.loads(done.stdout)


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
    add('--cases', nargs='+', choices=CASES, help='only these cases')
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
    if args.sides:
        if args.check:
            parser.error('--check compares all sides: leave out --sides')
        args.sides += SIDES['processes']
    return args


def chosen_cases(args: argparse.Namespace) -> list[str]:
    """The cases that the command line asks for."""
    if args.cases:
        return list(args.cases)
    left_out = {1: 'stage2', 2: 'stage1'}.get(args.stage)
    cases = [case for case in CASES if case != left_out]
    if args.device != 'cpu':
        cases.remove('processes')
    return cases


def main(argv: list[str] | None = None) -> int:
    """Measure, report and check; the exit code."""
    args = parse_args(argv)
    report = dict(settings=vars(args), cases={})
    for case in chosen_cases(args):
        report['cases'][case] = (
            measure_data() if case == 'data' else measure(case, args))
    goals = reports.judge(report['cases'])
    report['goals'] = goals
    print(
        json.dumps(report, indent=1) if args.json else reports.as_text(report))
    missed = [goal for goal in goals if not goal['reached']]
    if args.check:
        for goal in missed:
            print(f'missed: {reports.describe(goal)}', file=sys.stderr)
        return 1 if missed else 0
    return 0


if __name__ == '__main__':
    try:
        sys.exit(main())
    except BenchmarkError as error:
        sys.exit(f'benchmark: {error}')
