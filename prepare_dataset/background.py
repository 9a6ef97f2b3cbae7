"""Masks of background alone, for photographs without a structure.

    python -m prepare_dataset.background FOLDER TASK --images '*_h'

FOLDER is a prepared split: it holds ``images``. Writes ``FOLDER/TASK`` with a
mask of zeros for each photograph whose name without suffix fits the pattern.
Healthy eyes, of which someone knows that they have no lesions, so become
ground truth for lesions: a network that has seen lesions in diseased eyes only
finds some in each.
"""
import fnmatch
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from mbos.io.labels import list_names, read_labels, save_labels
from .cli import finish, make_parser
from .errors import PrepareError


@dataclass
class Written:
    """How many masks were written, and where."""

    folder: Path
    masks: int
    ok: bool = True

    def __str__(self) -> str:
        return (f'{self.folder}: {self.masks} masks of background. Name them '
                f'in a config as ann_dirs=dict({self.folder.name}=...).')


def prepare(folder: str | Path,
            task: str,
            images: str = '*',
            force: bool = False) -> Written:
    """Write masks of zeros beside the images that a pattern names: none where
    a mask that is there shows something, without ``force``.
    """
    source, target = Path(folder, 'images'), Path(folder, task)
    if not source.is_dir():
        raise PrepareError(f'{source}: is not a folder; give a prepared '
                           'split, which holds the folder images.')
    names = [
        name for name in list_names(str(source))
        if fnmatch.fnmatchcase(Path(name).stem, images)
    ]
    if not names:
        raise PrepareError(f'{source}: no image is named {images}; change '
                           '--images.')
    masks = {name: (target / name).with_suffix('.png') for name in names}
    for mask in masks.values():
        if mask.exists() and read_labels(str(mask)).any() and not force:
            raise PrepareError(
                f'{mask}: is there and shows something; give another TASK, '
                'or --force to overwrite it.')
    for name, mask in masks.items():
        with Image.open(source / name) as image:
            width, height = image.size
        save_labels(mask, np.zeros((height, width), np.uint8))
    return Written(target, len(masks))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; see :func:`cli.finish` for the exit code."""
    parser = make_parser(__doc__)
    parser.add_argument('folder', metavar='FOLDER', help='a prepared split')
    parser.add_argument('task', metavar='TASK', help='such as lesion')
    parser.add_argument(
        '--images',
        default='*',
        metavar='PATTERN',
        help='names of photographs without suffix (default: all)')
    parser.add_argument(
        '--force', action='store_true', help='overwrite what is there')
    arguments = vars(parser.parse_args(argv))
    return finish(lambda: prepare(**arguments))


if __name__ == '__main__':
    sys.exit(main())
