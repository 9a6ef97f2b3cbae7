"""Bring Swin weights into the place and layout that the configs name.

Convert a file in the official, mmseg or timm layout:

    mbos convert-backbone IN OUT

Download the ImageNet-1K weights of Swin-T from their authors:

    mbos convert-backbone --download [OUT]
"""
import logging
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
ARGUMENTS = [
    ('files', f'IN and OUT, or with --download OUT (default: {DEFAULT_OUT})',
     dict(nargs='*', metavar='FILE')),
    ('--download', 'fetch the weights first', FLAG),
]


def download(out: str) -> dict:
    """The weights of Swin-T; an OSError says what to put where."""
    socket.setdefaulttimeout(30)
    try:
        with tempfile.TemporaryDirectory() as folder:
            path = osp.join(folder, osp.basename(SWIN_TINY_URL))
            torch.hub.download_url_to_file(
                SWIN_TINY_URL, path, progress=sys.stderr.isatty())
            return read_backbone_state(path)
    except Exception as error:  # urllib's and http's have no common kind
        raise OSError(f'Could not download the weights ({error}). Download '
                      f'{SWIN_TINY_URL} elsewhere and put it at {out}, or set '
                      'model.pretrained=None to train without, which is worse.'
                      ) from error


def main() -> None:
    """Convert or download."""
    parser = make_parser(__doc__, ARGUMENTS)
    args = parser.parse_args()
    if len(args.files) not in ((0, 1) if args.download else (2, )):
        parser.error('give two files, IN and OUT; with --download OUT alone')
    logging.basicConfig(level=logging.INFO, format='%(message)s')
    out = args.files[-1] if args.files else DEFAULT_OUT
    given = SWIN_TINY_URL if args.download else args.files[0]
    state = download(out) if args.download else read_backbone_state(given)
    state = convert_swin(state, given)
    save_swin_weights(state, out)
    print(f"wrote {out}: {len(state)} tensors in mmseg's layout")
