"""RETA: vessels of the 54 IDRiD training photographs, 1024x1024.

    python -m prepare_dataset.reta RAW OUT

RAW holds photographs ``IDRiD_01.jpg`` and vessel masks
``IDRiD_01_vessel.png`` in any folders. They are taken as they come, so the
prepared folder is ``RETA``. Masks may also have the photographs' names, in a
folder that is called like one of masks. Those of the 27 test photographs are
withheld by the authors.
"""
import re
import sys
from functools import partial
from pathlib import Path

from .cli import main
from .description import Collection, Split
from .driver import run
from .labels import binary
from .layout import Found, Item
from .mirrors import files_by_name

NAME = re.compile(r'IDRiD_\d+$', re.IGNORECASE)


def find(raw: Path, split: str) -> Found | None:
    """Find the vessel masks and their photographs."""
    found = Found(folder=raw)
    images, masks = files_by_name(
        raw, found, lambda stem: stem if NAME.match(stem) else None)
    if not masks and not images:
        return None
    for stem, mask in masks.items():
        if stem not in images:
            found.problems.append(
                f'{mask}: its photograph {stem}.jpg is missing under {raw}; '
                'put the 1024x1024 photographs of RETA there.')
            continue
        found.items.append(
            Item(stem, images[stem], dict(ann=partial(binary, mask))))
    withheld = len(images.keys() - masks.keys())
    if withheld:
        found.notes.append(f'{withheld} photographs have no vessel mask and '
                           'are left out (RETA withholds the test masks).')
    return found


COLLECTION = Collection(
    'RETA',
    'RETA',
    find,
    dict(train=Split(54, crop='none')),
    tree=('.../IDRiD_01.jpg', '.../IDRiD_01_vessel.png',
          'or images/IDRiD_01.jpg, masks/IDRiD_01.png'))
prepare = partial(run, COLLECTION)

if __name__ == '__main__':
    sys.exit(main(COLLECTION, prepare, __doc__))
