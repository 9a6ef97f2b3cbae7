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
from .options import FLAG, make_parser

DEFAULT_OUT = 'pretrain/swin_tiny_patch4_window7_224.pth'
TIMM_NAME = 'swin_tiny_patch4_window7_224.ms_in1k'
ARGUMENTS = [
    ('files',
     f'IN and OUT; with --download only OUT, by default {DEFAULT_OUT}',
     dict(nargs='*', metavar='FILE')),
    ('--download', 'fetch the weights first', FLAG),
    ('--source', 'where to download from (default: official)',
     dict(choices=('official', 'timm'), default='official')),
]


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = make_parser(__doc__, ARGUMENTS)
    args = parser.parse_args()
    if args.download and len(args.files) > 1:
        parser.error('--download takes at most one file, OUT')
    if not args.download and len(args.files) != 2:
        parser.error('give two files, IN and OUT')
    return args


def download(source: str, out: str) -> dict:
    """Fetch the weights of Swin-T, in mmseg's layout.

    Raises:
        OSError: If that fails; says what to put where.
    """
    try:
        if source == 'timm':
            import timm
            model = timm.create_model(TIMM_NAME, pretrained=True)
            return convert_swin(model.state_dict(), TIMM_NAME)
        folder = osp.dirname(osp.abspath(out))
        os.makedirs(folder, exist_ok=True)
        socket.setdefaulttimeout(30)
        with tempfile.TemporaryDirectory(dir=folder) as temporary:
            path = osp.join(temporary, osp.basename(SWIN_TINY_URL))
            torch.hub.download_url_to_file(
                SWIN_TINY_URL, path, progress=sys.stderr.isatty())
            return convert_swin(read_backbone_state(path), path)
    except Exception as error:  # timm's hub client fails in ways of its own
        raise OSError(
            f'Could not download the weights ({source}): {error}\n'
            'Without network access, do one of these:\n'
            f'  - download {SWIN_TINY_URL} elsewhere and put it at {out}\n'
            '    (about 110 MB; it needs no conversion);\n'
            f'  - download model.safetensors of timm/{TIMM_NAME} from\n'
            '    huggingface.co elsewhere and run mbos convert-backbone '
            f'model.safetensors {out};\n'
            '  - try another --source, official or timm;\n'
            '  - set model.pretrained=None to train from scratch (worse).'
        ) from error


def main() -> None:
    """Convert or download."""
    args = parse_args()
    logging.basicConfig(level=logging.INFO, format='%(message)s')
    out = args.files[-1] if args.files else DEFAULT_OUT
    if args.download:
        state = download(args.source, out)
    else:
        state = convert_swin(read_backbone_state(args.files[0]), args.files[0])
    save_swin_weights(state, out)
    print(f'wrote {out}: {len(state)} tensors in mmseg\'s layout')
