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
from pathlib import Path

import numpy as np
from PIL import Image

from mbos.io import RefusedError
from mbos.io.labels import list_names, read_labels, save_labels
from .cli import finish, make_parser


def prepare(folder: str | Path,
            task: str,
            images: str = '*',
            force: bool = False) -> str:
    """Write masks of zeros beside the images that a pattern names, and say
    so: none where a mask that is there shows something, without ``force``.
    """
    source, target = Path(folder, 'images'), Path(folder, task)
    masks = {
        source / name: (target / name).with_suffix('.png')
        for name in list_names(str(source))
        if fnmatch.fnmatchcase(Path(name).stem, images)
    }
    if not masks:
        raise RefusedError(f'{source}: no image is named {images}; change '
                           '--images.')
    for mask in masks.values():
        if mask.exists() and read_labels(str(mask)).any() and not force:
            raise RefusedError(
                f'{mask}: is there and shows something; give another TASK, '
                'or --force to overwrite it.')
    for path, mask in masks.items():
        with Image.open(path) as image:
            size = image.size
        save_labels(mask, np.zeros(size[::-1], np.uint8))
    return (f'{target}: {len(masks)} masks of background. Name them in a '
            f'config as ann_dirs=dict({task}=...).')


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; see :func:`cli.finish` for the exit code."""
    parser = make_parser(__doc__)
    add = parser.add_argument
    add('folder', metavar='FOLDER', help='a prepared split')
    add('task', metavar='TASK', help='such as lesion')
    text = 'names of photographs without suffix (default: all)'
    add('--images', default='*', metavar='PATTERN', help=text)
    add('--force', action='store_true', help='overwrite what is there')
    arguments = vars(parser.parse_args(argv))
    return finish(lambda: prepare(**arguments))


if __name__ == '__main__':
    sys.exit(main())
