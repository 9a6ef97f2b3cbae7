"""Turn a checkpoint released by PSSNet's authors into one of ours, and back.

    mbos convert-checkpoint IN OUT
    mbos convert-checkpoint IN OUT --to-release

Training and testing load released files as they are; this writes them under
our names. The network is checked against a config: by default the published
one of the file's stage, or the one that our file describes. Everything
that is dropped or missing is said.
"""
import os.path as osp

from mmseg.models import build_segmentor

from mbos.checkpoints.loading import (checkpoint_meta, fit_weights, left_out,
                                      read_checkpoint)
from mbos.checkpoints.network import describe_network
from mbos.checkpoints.release_layout import is_release_state, to_release
from mbos.config import build_checked, load_config, plain
from mbos.engine.runner import save_atomically
from .options import FLAG, make_parser

ARGUMENTS = [
    ('input', 'checkpoint to read', dict(metavar='IN')),
    ('output', 'checkpoint to write', dict(metavar='OUT')),
    ('--to-release', 'from our names to those of the release', FLAG),
    ('--config', 'config of the network, if not the published one', {}),
]


def main() -> None:
    """Convert a file."""
    args = make_parser(__doc__, ARGUMENTS).parse_args()
    if osp.realpath(args.input) == osp.realpath(args.output):
        raise ValueError(f'{args.output}: IN and OUT are the same file.')
    content = read_checkpoint(args.input)
    if is_release_state(content['state_dict']) == args.to_release:
        raise ValueError(f'{args.input} has the names that are asked for '
                         'already: give or leave out --to-release.')
    config = args.config and load_config(args.config)
    model_cfg, settings = describe_network(args.input, content, config)
    model_cfg = dict(plain(model_cfg), pretrained=None)
    model = build_checked(build_segmentor, dict(model_cfg))
    state, notes = fit_weights(model, args.input, content)
    meta = checkpoint_meta(model, model_cfg, settings)
    if args.to_release:
        state, meta = to_release(state, list(model.tasks.values())), {}
        notes += left_out(content)
    for note in notes:
        print(f'{args.input}: {note}')
    save_atomically(dict(state_dict=state, meta=meta), args.output)
    print(f'wrote {args.output}: {len(state)} tensors')
