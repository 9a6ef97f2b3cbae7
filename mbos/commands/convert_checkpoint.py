"""Turn a checkpoint released by PSSNet's authors into one of ours, and back.

    mbos convert-checkpoint IN OUT
    mbos convert-checkpoint IN OUT --to-release

Training and testing load released files as they are; this writes them under
our names. The network is checked against a config: by default the published
one of the file's stage, or the one that our file describes. Everything
that is dropped, missing or refilled is said.
"""
import argparse
import os.path as osp
import sys

from mbos.apis import load_config
from mbos.checkpoints import loading as checkpoint
from mbos.checkpoints import release_layout as release
from mbos.checkpoints import settings
from mbos.checkpoints.foreign_state import summarize
from mbos.config import build_checked, plain
from mbos.engine.checkpoint_hook import save_atomically


def parse_args(argv=None) -> argparse.Namespace:
    """Parse the command line; wrong usage ends with status 2."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('input', metavar='IN', help='checkpoint to read')
    parser.add_argument('output', metavar='OUT', help='checkpoint to write')
    parser.add_argument(
        '--to-release',
        action='store_true',
        help='from our names to those of the release')
    parser.add_argument(
        '--config', help='config of the network, if not the published one')
    args = parser.parse_args(argv)
    if osp.realpath(args.input) == osp.realpath(args.output):
        parser.error('IN and OUT are the same file')
    return args


def build_network(content: dict, config: str | None = None) -> tuple:
    """The network that a checkpoint should fit, without weights; its config
    in plain types; and what prediction needs, None where it is not known."""
    meta = content['meta']
    model_cfg = meta.get('mbos_model')
    found = settings.settings_from_meta(meta)
    if config is not None or model_cfg is None:
        stage = settings.stage_of(content)
        cfg = load_config(config or settings.PUBLISHED_CONFIGS[stage])
        model_cfg, found = cfg.model, settings.find_settings(cfg)
    model_cfg = dict(plain(model_cfg), pretrained=None)
    from mmseg.models import build_segmentor
    return build_checked(build_segmentor, dict(model_cfg)), model_cfg, found


def convert(args: argparse.Namespace) -> tuple[dict, list[str]]:
    """The checkpoint to write, and sentences on what was dropped, missing or
    refilled.

    Raises:
        ValueError: If the file cannot be read, is of the other kind, or does
            not fit the config.
    """
    content = checkpoint.read_checkpoint(args.input)
    released = release.is_release_state(content['state_dict'])
    if released == args.to_release:
        remedy = 'leave out --to-release' if released else 'give --to-release'
        raise ValueError(
            f'{args.input} has {"the release" if released else "our"}\'s '
            f'names already: {remedy}, or use the file as it is.')
    model, model_cfg, found = build_network(content, args.config)
    state, notes = checkpoint.fit_weights(model, args.input, content)
    derived = {n: v for n, v in model.state_dict().items() if n not in state}
    derived = {n: v for n, v in derived.items() if n.endswith('_index')}
    if derived:
        notes.append(f'computed anew: {summarize(list(derived))}')
        state = {**state, **derived}
    if not args.to_release:
        meta = checkpoint.checkpoint_meta(model, model_cfg, found)
        return dict(state_dict=state, meta=meta), notes
    state, refilled = release.to_release(state, list(model.tasks.values()))
    if refilled:
        notes.append(f'{len(refilled)} tensors without use refilled: '
                     f'{summarize(refilled)}')
    return dict(
        state_dict=state, meta={}), notes + checkpoint.left_behind(content)


def main(argv=None) -> int:
    """Convert; returns the exit status."""
    args = parse_args(argv)
    try:
        content, notes = convert(args)
    except (FileNotFoundError, ValueError) as error:
        print(f'error: {error}', file=sys.stderr)
        return 1
    for note in notes:
        print(f'{args.input}: {note}')
    save_atomically(content, args.output)
    print(f'wrote {args.output}: {len(content["state_dict"])} tensors')
    return 0
