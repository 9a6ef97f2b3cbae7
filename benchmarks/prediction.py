"""Time and memory of ``mbos predict`` over a folder of photographs.

    python -m benchmarks.prediction [CHECKPOINT] [--config CONFIG]
        [--photographs FOLDER] [--megapixels 2 6 12] [--cores 1 2]
        [--backends torch onnxruntime] [--against CHECKOUT]
    python -m benchmarks.prediction --quick     # a minute, to try it

By default, the network that comes with MBOS and the photographs of demo/,
which takes about four minutes on two idle cores. Each row is printed as soon
as it is measured.

Runs: each takes a folder of one size in a process of its own, kept to some
cores. Seconds of a photograph are those between the first ones, as many as
there are cores, and the end of the run; processor seconds are of the whole
run, the start included; the peak is the process's resident memory. With
--against, runs of another checkout of MBOS take turns with these, and all are
compared with it.
Steps: what one photograph costs, one step after the other on one thread, in
processor seconds; that is where to look for what to make faster.
"""
import argparse
import json
import os
import os.path as osp
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from unittest import mock

import cv2

from benchmarks.common import Clock, markdown
from mbos.commands.options import FLAG, make_parser

ROOT = Path(__file__).resolve().parents[1]


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line; wrong usage ends with status 2."""
    number = dict(type=int)
    args = make_parser(__doc__, [
        ('checkpoint', 'default: the network that comes with MBOS',
         dict(nargs='?', default='fundus-light')),
        ('--config', '', {}),
        ('--photographs', 'folder of JPEGs; default: those of demo/',
         dict(type=Path, default=ROOT / 'demo/photographs')),
        ('--count', 'photographs', dict(number, default=6)),
        ('--megapixels', '', dict(type=float, nargs='+', default=[2, 6, 12])),
        ('--cores', '', dict(number, nargs='+', default=[1, 2])),
        ('--backends', 'of mbos predict', dict(nargs='+', default=['torch'])),
        ('--device', '', dict(default='cpu')),
        ('--against', 'another checkout, as it was before', {}),
        ('--quick', 'two photographs of 0.3 MP', FLAG),
    ]).parse_args(argv)
    if args.quick:
        args.count, args.megapixels, args.cores = 2, [0.3], [1]
    if osp.exists(args.checkpoint):
        args.checkpoint = osp.abspath(args.checkpoint)
    return args


def scaled_photographs(source: Path, out: Path, megapixels: float,
                       count: int) -> Path:
    """A folder in ``out`` of copies of JPEGs of ``source``, or below it, at a
    size. Photographs are repeated where there are fewer than ``count``.
    """
    found = sorted(
        p for p in source.rglob('*') if p.suffix.lower() in ('.jpg', '.jpeg'))
    if not found:
        raise SystemExit(f'{source}: no JPEG in it or below it.')
    folder = out / f'{megapixels:g}'
    folder.mkdir(parents=True)
    for number in range(count):
        image = cv2.imread(str(found[number % len(found)]))
        scale = (megapixels * 1e6 / image[..., 0].size)**0.5
        if abs(scale - 1) > 0.05:
            image = cv2.resize(
                image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        cv2.imwrite(
            str(folder / f'{number}.jpg'), image,
            [cv2.IMWRITE_JPEG_QUALITY, 92])
    return folder


# ---- whole runs


def predict_arguments(args: argparse.Namespace, backend: str,
                      photographs: Path, out: Path) -> list[str]:
    """What ``mbos predict`` is given."""
    chosen = ['--backend', backend]
    if backend == 'torch':
        chosen = ['--device', args.device]
    config = [args.config] if args.config else []
    folders = [str(photographs), '--out', str(out)]
    return [*config, args.checkpoint, *folders, *chosen]


def run(command: Sequence[str], checkout: Path, cores: int, out: Path,
        count: int) -> dict:
    """Predict a folder in a process of its own, on the first cores.

    Returns:
        dict: ``first``, wall seconds until the first photograph is written,
        and ``wall``, of each one after the first ``cores``; ``cpu``, processor
        seconds in all; ``peak_mb``.
    """
    env = dict(os.environ, PYTHONPATH=str(checkout))
    env.pop('OMP_NUM_THREADS', None)
    start = time.time()
    process = subprocess.Popen(['taskset', '-c', f'0-{cores - 1}', *command],
                               env=env,
                               cwd=checkout,
                               stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    end = time.time()
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f'Failed, see above: {" ".join(command)}')
    written = sorted(path.stat().st_mtime
                     for path in (out / 'records').glob('*.json'))
    begun = max(1, min(cores, count - 1))
    return dict(
        first=written[0] - start,
        wall=(end - written[begun - 1]) / max(1, count - begun),
        cpu=usage.ru_utime + usage.ru_stime,
        peak_mb=usage.ru_maxrss / 1024)


def compare_runs(args: argparse.Namespace, folders: dict[float, Path],
                 work: Path) -> Iterator[dict]:
    """Every size, number of cores, backend and checkout, in turn."""
    sides = [('', ROOT, backend) for backend in args.backends]
    if args.against:
        sides.insert(0, ('before: ', Path(args.against).resolve(), 'torch'))
    python = [sys.executable, '-W', 'ignore', '-m', 'mbos', 'predict']
    for megapixels, folder in folders.items():
        for cores in args.cores:
            for label, checkout, backend in sides:
                out = Path(tempfile.mkdtemp(dir=work))
                given = predict_arguments(args, backend, folder, out)
                yield dict(
                    megapixels=megapixels,
                    cores=cores,
                    side=f'{label}{backend}',
                    **run(python + given, checkout, cores, out, args.count))


def runs_table(found: Sequence[dict]) -> str:
    """The runs, with the first side of each case as what is compared with."""
    rows = [[
        'megapixels', 'cores', 'side', 's to the first', 's each',
        'photographs/min', 'CPU s', 'peak MB', 'CPU s, share of the first side'
    ]]
    first: dict = {}
    for row in found:
        base = first.setdefault((row['megapixels'], row['cores']), row)['cpu']
        rows.append([
            f'{row["megapixels"]:g}', row['cores'], row['side'],
            f'{row["first"]:.1f}', f'{row["wall"]:.2f}',
            f'{60 / max(row["wall"], 1e-3):.0f}', f'{row["cpu"]:.2f}',
            f'{row["peak_mb"]:.0f}', f'{row["cpu"] / base:.2f}'
        ])
    return markdown(rows)


# ---- steps of one photograph


def time_steps(args: argparse.Namespace, folder: Path,
               out: Path) -> dict[str, float]:
    """Processor seconds of each step, the median over the photographs.

    The first photograph, at which libraries and the network set themselves
    up, is left out if there are others.
    """
    os.environ['OMP_NUM_THREADS'] = '1'  # before torch is imported
    from mbos.commands import predict
    from mbos.inference.folder_run import FolderRun
    from mbos.inference.prediction import PredictionOptions
    from mbos.runtime.allocator import keep_freed_memory
    keep_freed_memory()  # as the command does
    parsed = predict.parse_args(
        predict_arguments(args, args.backends[0], folder, out))
    make = (
        predict.torch_predictor
        if parsed.backend == 'torch' else predict.onnx_predictor)
    run_of_one = FolderRun(
        make(parsed, PredictionOptions()), parsed.checkpoint, str(out))
    found = [
        time_photograph(run_of_one, path) for path in sorted(folder.iterdir())
    ]
    found = found[1:] or found
    return {
        step: statistics.median(of[step] for of in found)
        for step in found[0]
    }


def time_photograph(run, path: Path) -> dict[str, float]:
    """One step after the other of a photograph, in processor seconds."""
    from mbos.inference.measurements import measure
    from mbos.io import files
    from mbos.io.field_of_view import find_field_of_view
    from mbos.io.photographs import read_photograph
    clock, predictor = Clock(), run.predictor
    photograph = clock('read', read_photograph)(path)
    image = photograph.image
    view = clock('field of view', find_field_of_view)(image)
    geometry = predictor.geometry(view)
    square = clock('field of view', geometry.apply)(image, is_label=False)
    inputs = clock('resize', predictor.make_input)(square)
    logits = clock('network', predictor.run)(inputs)
    with mock.patch.object(files, 'save_whole', clock('write',
                                                      files.save_whole)):
        labels, _ = clock('restore', run.write_labels)(path.stem, view, logits)
        row = clock('measure', measure)(labels, run.tasks, view, image)
        clock('draw', run.write_pictures)(path.stem, photograph, labels,
                                          row['flags'])
    return clock.seconds


def steps_table(steps: dict[float, dict[str, float]]) -> str:
    """Processor seconds of each step, a column for each size."""
    rows = [['CPU s of a photograph', *(f'{m:g} MP' for m in steps)]]
    for step in next(iter(steps.values())):
        rows.append([step, *(f'{of[step]:.2f}' for of in steps.values())])
    rows.append(['all', *(f'{sum(of.values()):.2f}' for of in steps.values())])
    return markdown(rows)


def main(argv: Sequence[str] | None = None) -> None:
    """Measure and print."""
    args = parse_args(argv)
    with tempfile.TemporaryDirectory() as name:
        work, found = Path(name), []
        folders = {
            m: scaled_photographs(args.photographs, work / 'in', m, args.count)
            for m in args.megapixels
        }
        for row in compare_runs(args, folders, work):
            found.append(row)
            print(json.dumps(row), file=sys.stderr, flush=True)
        steps = {
            m: time_steps(args, folder, work / 'steps')
            for m, folder in folders.items()
        }
    print(f'{runs_table(found)}\n\n{steps_table(steps)}')


if __name__ == '__main__':
    main()
