"""Bring Swin weights into the place and layout that the configs name.

Convert a file in the official, mmseg or timm layout:

    mbos convert-backbone IN OUT

Download the ImageNet-1K weights of Swin-T, from their authors or as timm
publishes them:

    mbos convert-backbone --download [--source timm] [OUT]
"""
import argparse
import logging
import os
import os.path as osp
import socket
import sys
import tempfile

import torch

from mbos.models.backbones.swin_weights import (SWIN_TINY_URL, convert_swin,
                                                save_swin_weights)
from mbos.models.backbones.weights import read_backbone_state

DEFAULT_OUT = 'pretrain/swin_tiny_patch4_window7_224.pth'
TIMM_NAME = 'swin_tiny_patch4_window7_224.ms_in1k'


def parse_args(argv=None) -> argparse.Namespace:
    """Parse the command line; wrong usage ends with status 2."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        'files',
        nargs='*',
        metavar='FILE',
        help='IN and OUT; with --download only OUT, by default '
        f'{DEFAULT_OUT}')
    parser.add_argument(
        '--download', action='store_true', help='fetch the weights first')
    parser.add_argument(
        '--source',
        choices=('official', 'timm'),
        default='official',
        help='where to download from (default: official)')
    args = parser.parse_args(argv)
    wanted = (0, 1) if args.download else (2, )
    if len(args.files) not in wanted:
        parser.error('--download takes at most one file, OUT' if args.
                     download else 'give two files, IN and OUT')
    return args


def fetch_official(out: str) -> dict:
    """Download the authors' file beside ``out`` and load it."""
    folder = osp.dirname(osp.abspath(out))
    os.makedirs(folder, exist_ok=True)
    socket.setdefaulttimeout(30)
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        path = osp.join(temporary, osp.basename(SWIN_TINY_URL))
        torch.hub.download_url_to_file(
            SWIN_TINY_URL, path, progress=sys.stderr.isatty())
        return convert_swin(read_backbone_state(path), path)


def fetch_timm() -> dict:
    """Let timm download its copy of the weights and convert them."""
    import timm
    model = timm.create_model(TIMM_NAME, pretrained=True)
    return convert_swin(model.state_dict(), TIMM_NAME)


def explain_failure(error: Exception, source: str, out: str) -> str:
    """What to put where when nothing can be downloaded."""
    other = 'timm' if source == 'official' else 'official'
    return (f'Could not download the weights ({source}): {error}\n'
            'Without network access, do one of these:\n'
            f'  - download {SWIN_TINY_URL}\n'
            f'    elsewhere and put it at {out}\n'
            '    (about 110 MB; it needs no conversion);\n'
            f'  - download model.safetensors of timm/{TIMM_NAME} from '
            'huggingface.co\n    elsewhere and run python '
            'tools/convert_swin_checkpoint.py\n'
            f'    model.safetensors {out};\n'
            f'  - try --source {other};\n'
            '  - set model.pretrained=None to train from scratch (worse).')


def main(argv=None) -> int:
    """Convert or download; returns the exit status."""
    args = parse_args(argv)
    logging.basicConfig(level=logging.INFO, format='%(message)s')
    out = args.files[-1] if args.files else DEFAULT_OUT
    try:
        if not args.download:
            if not osp.isfile(args.files[0]):
                raise FileNotFoundError(f'{args.files[0]} not found. To fetch '
                                        'the weights, use --download.')
            source = args.files[0]
            state = convert_swin(read_backbone_state(source), source)
        elif args.source == 'timm':
            state = fetch_timm()
        else:
            state = fetch_official(out)
    except Exception as error:
        # timm's hub client fails in ways of its own, even by a kind of
        # FileNotFoundError when there is no network.
        if args.download:
            print(explain_failure(error, args.source, out), file=sys.stderr)
            return 1
        if not isinstance(error, (FileNotFoundError, ValueError)):
            raise
        print(f'error: {error}', file=sys.stderr)
        return 1
    save_swin_weights(state, out)
    print(f'wrote {out}: {len(state)} tensors in mmseg\'s layout')
    return 0
