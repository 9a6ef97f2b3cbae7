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
from mbos.checkpoints.onnx_export import export_onnx
from mbos.io.disclaimer import DISCLAIMER
from .options import FLAG, make_parser

ARGUMENTS = [
    ('checkpoint', "of either stage, the authors' included", {}),
    ('output', 'file to write', dict(metavar='OUT.onnx')),
    ('--config', 'config, if the checkpoint does not describe its network',
     {}),
    ('--size', 'of all images, for backbones whose graph cannot take any '
     'size, such as MixVisionTransformer',
     dict(type=int, nargs=2, metavar=('HEIGHT', 'WIDTH'))),
    ('--no-check', 'do not compare with ONNX Runtime', FLAG),
]


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


def export(args: argparse.Namespace) -> None:
    """Write the file; one that differs from the network is not kept."""
    if not args.output.endswith('.onnx'):
        raise ValueError(f'{args.output}: the name must end in .onnx.')
    size = tuple(args.size) if args.size else None
    if size and min(size) < 1:
        raise ValueError(f'--size {size[0]} {size[1]}: give pixels from 1 '
                         'upwards.')
    model = apis.load_model(args.checkpoint, args.config, device='cpu')
    start = time.time()
    difference = export_onnx(
        model,
        args.output,
        describe(model, size),
        size,
        check=not args.no_check)
    if difference is not None:
        print(f'largest difference of a probability: {difference:.1e}')
    print(f'wrote {args.output}: {osp.getsize(args.output) / 1e6:.1f} MB in '
          f'{time.time() - start:.0f} s; outputs {", ".join(model.tasks)}')


def main() -> None:
    """Export and compare."""
    args = make_parser(__doc__, ARGUMENTS).parse_args()
    try:
        export(args)
    except ImportError as error:
        sys.exit(f'Error: {error}')
