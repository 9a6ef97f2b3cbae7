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
import os.path as osp
import sys
import time

from mbos import apis
from mbos.checkpoints import onnx_export
from mbos.checkpoints.publishing import DISCLAIMER
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
    return parser.parse_args(argv)


def describe(model, size: tuple[int, int] | None = None) -> dict:
    """What users of the file should know, in plain types."""
    settings = model.settings
    height, width = size or ('height', 'width')
    tasks = {name: task.as_config() for name, task in model.tasks.items()}
    for task in tasks.values():
        del task['name']
    return dict(
        tasks=tasks,
        thresholds={name: settings.threshold(name)
                    for name in tasks},
        image_scale=settings.image_scale and list(settings.image_scale),
        crop=settings.crop,
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
