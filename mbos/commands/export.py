"""Write a trained network as one ONNX file for all its tasks.

    mbos export CHECKPOINT OUT.onnx [--config CONFIG] [--size HEIGHT WIDTH]

Input ``image``: RGB in 0..255, float32, (N, 3, height, width), any N and any
size, or that of --size; the normalisation is inside. One output per task,
named after it: probabilities of its classes, (N, C, height, width). Cross-task
attention is part of the graph. Classes, label rules, thresholds, and the
square that photographs are scaled into are in the file's metadata as JSON, key
``mbos``. The file is run in ONNX Runtime and compared with the network before
it counts.
"""
import argparse
import multiprocessing
import os.path as osp
import sys
import time
from collections.abc import Callable

import numpy as np
import torch

from mbos import apis
from mbos.checkpoints import onnx_export
from mbos.checkpoints.publishing import DISCLAIMER
from mbos.datasets.scoring import format_table
from mbos.io.files import whole_path


def parse_args(argv=None) -> argparse.Namespace:
    """Parse the command line; wrong usage ends with status 2."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        'checkpoint', help="of either stage, the authors' included")
    parser.add_argument('output', metavar='OUT.onnx')
    parser.add_argument(
        '--config',
        help='config, if the checkpoint does not describe its network')
    parser.add_argument(
        '--size',
        type=int,
        nargs=2,
        metavar=('HEIGHT', 'WIDTH'),
        help='of all images, for backbones whose graph cannot take any size, '
        'such as MixVisionTransformer')
    parser.add_argument(
        '--no-check',
        action='store_true',
        help='do not compare with ONNX Runtime')
    parser.add_argument(
        '--benchmark',
        type=int,
        metavar='SIDE',
        help='also time both on a square of this side, and say their memory')
    return parser.parse_args(argv)


def describe(model, size: tuple[int, int] | None = None) -> dict:
    """What users of the file should know, in plain types."""
    scale = model.settings.image_scale
    height, width = size or ('height', 'width')
    return dict(
        tasks={
            name: {
                k: v
                for k, v in task.as_config().items() if k != 'name'
            }
            for name, task in model.tasks.items()
        },
        thresholds={t: model.settings.threshold(t)
                    for t in model.tasks},
        image_scale=scale and list(scale),
        crop=model.settings.crop,
        input=f'RGB, 0..255, float32, (N, 3, {height}, {width})',
        disclaimer=DISCLAIMER)


def check(model,
          path: str,
          scale: dict,
          size: tuple[int, int] | None = None) -> float:
    """Compare one and two images, at two sizes or at the only one.

    Raises:
        ValueError: If they differ.
    """

    def compare(*shapes):
        return max(
            onnx_export.largest_difference(model, path, shape=shape, **scale)
            for shape in shapes)

    traced = size or onnx_export.TRACED_SIZE
    difference = compare((1, *traced), (2, *traced))
    if difference <= onnx_export.TOLERANCE and not size:
        difference = compare((2, 128, 128), (1, 157, 211))
        if not difference <= onnx_export.TOLERANCE:
            raise ValueError(
                f'The backbone {type(model.backbone).__name__} keeps the size '
                'of image that its graph was made with, and the graph was not '
                'kept: export it for one size, '
                f'{onnx_export.SIZE_OPTION}.')
    if not difference <= onnx_export.TOLERANCE:
        raise ValueError(
            f'The graph differs from the network by {difference:.1e}, more '
            f'than {onnx_export.TOLERANCE:.0e}, and was not kept: please '
            'report this with the versions of torch, onnx and onnxruntime.')
    return difference


def benchmark(checkpoint: str, config, path: str, side: int) -> None:
    """Time one image in PyTorch and in ONNX Runtime, in a process each."""
    rows = [['', 'seconds', 'peak memory (MB)']]
    for name, load, source in (('PyTorch', load_torch, (checkpoint, config)),
                               ('ONNX Runtime', load_onnx, (path, ))):
        with multiprocessing.get_context('spawn').Pool(1) as pool:
            seconds, memory = pool.apply(measure, (load, source, side))
        rows.append([name, f'{seconds:.2f}', f'{memory:.0f}'])
    print(f'One image of {side}x{side} on CPU:\n{format_table(rows)}')


def measure(load: Callable,
            source: tuple,
            side: int,
            repeats: int = 3) -> tuple[float, float]:
    """Time the forward pass of a network that this process loads.

    Returns:
        tuple[float, float]: Median of the seconds, the first pass left out;
        and the peak memory in MB above that before loading.
    """
    image = np.random.default_rng(0).uniform(0, 255, (1, 3, side, side))
    before = memory_of_process('VmRSS')
    forward = load(*source, image.astype(np.float32))
    seconds = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        forward()
        seconds.append(time.perf_counter() - start)
    return float(np.median(seconds[1:])), memory_of_process('VmHWM') - before


def memory_of_process(key: str) -> float:
    """MB in use (``VmRSS``) or at most in use (``VmHWM``), on Linux.

    The peak of getrusage would include that of the parent process.
    """
    with open('/proc/self/status', encoding='ascii') as file:
        line = next(line for line in file if line.startswith(key))
    return int(line.split()[1]) / 1024


def load_torch(checkpoint, config, image) -> Callable:
    """Function that runs a checkpoint in PyTorch."""
    model = apis.load_model(checkpoint, config, device='cpu')
    image = torch.from_numpy(image)

    def forward():
        with torch.inference_mode():
            model.encode_decode(image, None).sigmoid()

    return forward


def load_onnx(path, image) -> Callable:
    """Function that runs a file in ONNX Runtime."""
    onnxruntime = onnx_export.import_optional('onnxruntime')
    session = onnxruntime.InferenceSession(
        path, providers=['CPUExecutionProvider'])
    return lambda: session.run(None, {onnx_export.INPUT: image})


def main(argv=None) -> None:
    """Export and compare."""
    args = parse_args(argv)
    try:
        export(args)
    except ImportError as error:
        sys.exit(f'{error}')


def export(args: argparse.Namespace) -> None:
    """Write the file; one that differs from the network is not kept.

    Raises:
        ImportError: If onnx or onnxruntime is missing.
        ValueError: If the network cannot be exported.
    """
    if not args.output.endswith('.onnx'):
        raise ValueError(f'{args.output}: the name must end in .onnx.')
    size = tuple(args.size) if args.size else None
    if size and min(size) < 1:
        raise ValueError(f'--size {size[0]} {size[1]}: give pixels from 1 '
                         'upwards.')
    if size and args.benchmark and size != 2 * (args.benchmark, ):
        raise ValueError(f'--benchmark {args.benchmark}: the graph takes '
                         f'images of --size {size[0]} {size[1]} only.')
    model = apis.load_model(args.checkpoint, args.config, device='cpu')
    norm = model.settings.normalization
    if not norm.get('to_rgb', True):
        raise ValueError('The network was trained on BGR, which this export '
                         'does not know.')
    scale = dict(mean=norm['mean'], std=norm['std'])
    start = time.time()
    with whole_path(args.output) as unchecked:
        onnx_export.export_onnx(
            model,
            unchecked,
            description=describe(model, size),
            size=size,
            **scale)
        if not args.no_check:
            print('largest difference of a probability: '
                  f'{check(model, unchecked, scale, size):.1e}')
    print(f'wrote {args.output}: {osp.getsize(args.output) / 1e6:.1f} MB in '
          f'{time.time() - start:.0f} s; outputs {", ".join(model.tasks)}')
    if args.benchmark:
        benchmark(args.checkpoint, args.config, args.output, args.benchmark)
