"""RETA: vessels of the 54 IDRiD training photographs, 1024x1024.

    python -m prepare_dataset.reta RAW OUT

RAW holds photographs ``IDRiD_01.jpg`` and vessel masks
``IDRiD_01_vessel.png`` in any folders. They are taken as they come, so the
prepared folder is ``RETA``. Masks may also have the photographs' names, in a
folder that is called like one of masks. Those of the 27 test photographs are
withheld by the authors.
"""
import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from .cli import main
from .description import Collection, Split
from .labels import binary
from .layout import LEAVE_OUT, Plane, find_by_names, photograph_or_mask

PLANES = dict(ann=Plane(binary, ['vessel'], LEAVE_OUT))


def kind_of(path: Path, folders: Sequence[str]) -> tuple[str, str] | None:
    """See ``layout.KindOf``."""
    place = photograph_or_mask('vessel', path, folders)
    is_named = place and re.match(r'IDRiD_\d+$', place[1], re.IGNORECASE)
    return place if is_named else None


find = partial(find_by_names, kind_of=kind_of, planes=PLANES, has_splits=False)
COLLECTION = Collection('RETA', 'RETA', find,
                        dict(train=Split(54, crop='none')))

if __name__ == '__main__':
    main(COLLECTION, __doc__)
