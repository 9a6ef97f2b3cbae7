"""Write a trained network as one ONNX file for all its tasks.

    mbos export CHECKPOINT OUT.onnx [--config CONFIG] [--size HEIGHT WIDTH]

Input ``image``: RGB in 0..255, float32, (N, 3, height, width), any N and any
size, or one image of --size; the normalisation is inside. One output per task,
named after it: probabilities of its classes, (N, C, height, width). Cross-task
attention is part of the graph. Classes, label rules, thresholds, and the
square that photographs are scaled into are in the file's metadata as JSON, key
``mbos``. The file is run in ONNX Runtime and compared with the network before
it counts.
"""
import os.path as osp

from mbos import apis
from mbos.checkpoints.onnx_export import export_onnx
from .options import make_parser

ARGUMENTS = [
    ('checkpoint', "of either stage, the authors' included", {}),
    ('output', 'file to write', dict(metavar='OUT.onnx')),
    ('--config', 'if the checkpoint does not describe its network', {}),
    ('--size', 'of the one image, for backbones whose graph cannot take any '
     'size, such as Swin',
     dict(type=int, nargs=2, metavar=('HEIGHT', 'WIDTH'))),
]


def main() -> None:
    """Export and compare."""
    parser = make_parser(__doc__, ARGUMENTS)
    args = parser.parse_args()
    if not args.output.endswith('.onnx'):
        parser.error(f'{args.output}: the name must end in .onnx')
    model = apis.load_model(args.checkpoint, args.config, device='cpu')
    difference = export_onnx(model, args.output, args.size)
    print(f'largest difference of a probability: {difference:.1e}')
    print(f'wrote {args.output}: {osp.getsize(args.output) / 1e6:.1f} MB; '
          f'outputs {", ".join(model.tasks)}')
