"""Time and memory of ``mbos predict`` over a folder of photographs.

    python -m benchmarks.prediction [CHECKPOINT] [--photographs FOLDER]
        [--megapixels 2 6 12] [--cores 1 2] [--backends torch onnxruntime]
    python -m benchmarks.prediction --quick     # a minute, to try it

By default, the network that comes with MBOS and the photographs of demo/,
which takes about four minutes on two idle cores. Each row is printed as soon
as it is measured.

Runs: each takes a folder of one size in a process of its own, kept to some
cores. Seconds of a photograph are those between the first ones, as many as
there are cores, and the end of the run; processor seconds are of the whole
run, the start included; the peak is the process's resident memory.
Steps: what a photograph of a run on one thread costs in processor seconds, to
see what to make faster.
"""
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import cv2

from benchmarks.common import in_own_process, markdown, time_parts
from mbos.commands.options import FLAG, make_parser

ROOT = Path(__file__).resolve().parents[1]


def scaled_photographs(source: Path, folder: Path, megapixels: float,
                       count: int) -> None:
    """Fill a folder with copies of JPEGs of ``source``, or below it, at a
    size. Photographs are repeated where there are fewer than ``count``."""
    found = sorted(
        p for p in source.rglob('*') if p.suffix.lower() in ('.jpg', '.jpeg'))
    if not found:
        raise SystemExit(f'{source}: no JPEG in it or below it.')
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


def run(command: Sequence[str], cores: int, out: Path) -> dict[str, float]:
    """Predict a folder in a process of its own, on the first cores.

    Returns wall seconds until the ``first`` photograph is written, and of each
    (``wall``) after the first ``cores``; ``cpu`` seconds in all; ``peak_mb``.
    """
    env = dict(os.environ, PYTHONPATH=str(ROOT))
    env.pop('OMP_NUM_THREADS', None)
    command = ['taskset', '-c', f'0-{cores - 1}', *command]
    start = time.time()
    process = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    end = time.time()
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f'Failed, see above: {" ".join(command)}')
    written = sorted(path.stat().st_mtime
                     for path in (out / 'records').glob('*.json'))
    begun = max(1, min(cores, len(written) - 1))
    return dict(
        first=written[0] - start,
        wall=(end - written[begun - 1]) / max(1,
                                              len(written) - begun),
        cpu=usage.ru_utime + usage.ru_stime,
        peak_mb=usage.ru_maxrss / 1024)


def time_steps(arguments: list[str]) -> dict[str, float]:
    """Processor seconds of each step of a run on one thread."""
    os.environ['OMP_NUM_THREADS'] = '1'  # before torch is imported
    from mbos.commands import predict
    from mbos.inference import folder_run, onnx_predictor, prediction
    from mbos.inference.predictor import Predictor
    from mbos.io import files
    parts = [(folder_run, 'read_photograph', 'read'),
             (prediction, 'find_field_of_view', 'field of view'),
             (folder_run.FolderRun, 'write_labels', 'restore'),
             (folder_run, 'measure', 'measure'),
             (folder_run.FolderRun, 'write_pictures', 'draw'),
             (files, 'save_whole', 'write'),
             (predict, 'predict_inputs', 'start and end')]
    for predictor in (Predictor, onnx_predictor.OnnxPredictor):
        parts += [(predictor, 'make_input', 'resize'),
                  (predictor, 'run', 'network')]
    return dict(
        time_parts(lambda: predict.main([*arguments, '--workers', '1']),
                   parts))


def main(argv: Sequence[str] | None = None) -> None:
    """Measure and print."""
    number = dict(type=int)
    args = make_parser(__doc__, [
        ('checkpoint', 'default: the network that comes with MBOS',
         dict(nargs='?', default='fundus-light')),
        ('--photographs', 'folder of JPEGs; default: those of demo/',
         dict(type=Path, default=ROOT / 'demo/photographs')),
        ('--count', 'photographs', dict(number, default=6)),
        ('--megapixels', '', dict(type=float, nargs='+', default=[2, 6, 12])),
        ('--cores', '', dict(number, nargs='+', default=[1, 2])),
        ('--backends', 'of mbos predict', dict(nargs='+', default=['torch'])),
        ('--device', '', dict(default='cpu')),
        ('--quick', 'two photographs of 0.3 MP', FLAG),
    ]).parse_args(argv)
    if args.quick:
        args.count, args.megapixels, args.cores = 2, [0.3], [1]
    rows = [[
        'megapixels', 'cores', 'backend', 's to the first', 's each',
        'photographs/min', 'CPU s', 'peak MB'
    ]]
    steps = {}
    with tempfile.TemporaryDirectory() as work:
        for size in args.megapixels:
            folder = Path(work, f'{size:g}')
            scaled_photographs(args.photographs, folder, size, args.count)

            def arguments(backend):
                out = tempfile.mkdtemp(dir=work)
                return [
                    args.checkpoint,
                    str(folder), '--out', out, '--device', args.device,
                    '--backend', backend
                ]

            for cores in args.cores:
                for backend in args.backends:
                    given = arguments(backend)
                    found = run(
                        [sys.executable, '-m', 'mbos', 'predict', *given],
                        cores, Path(given[3]))
                    rows.append([
                        f'{size:g}', cores, backend, f'{found["first"]:.1f}',
                        f'{found["wall"]:.2f}',
                        f'{60 / max(found["wall"], 1e-3):.0f}',
                        f'{found["cpu"]:.2f}', f'{found["peak_mb"]:.0f}'
                    ])
                    print(*rows[-1], file=sys.stderr, flush=True)
            steps[size] = in_own_process(time_steps,
                                         arguments(args.backends[0]))
    heads = ['CPU s of a photograph', *(f'{size:g} MP' for size in steps)]
    names = dict.fromkeys(name for own in steps.values() for name in own)
    table = [[name, *(f'{own.get(name, 0) / args.count:.2f}'
                      for own in steps.values())]
             for name in names]  # yapf: disable
    print(f'{markdown(rows)}\n\n{markdown([heads, *table])}')


if __name__ == '__main__':
    main()
