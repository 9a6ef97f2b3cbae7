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
from .layout import LEAVE_OUT, Found, Plane, pair
from .mirrors import files_by_name

NAME = re.compile(r'IDRiD_\d+$', re.IGNORECASE)


def find(raw: Path, split: str) -> Found | None:
    """Find the vessel masks and their photographs."""
    found = Found(folder=raw)
    images, masks = files_by_name(
        raw, found, lambda stem: stem if NAME.match(stem) else None)
    if not masks and not images:
        return None
    return pair(found, images, dict(vessel=masks),
                dict(ann=Plane(binary, ['vessel'], LEAVE_OUT)))


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
