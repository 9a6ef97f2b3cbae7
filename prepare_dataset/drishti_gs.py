"""Drishti-GS: optic disc and cup, 50 training and 51 test photographs.

    python -m prepare_dataset.drishti_gs RAW OUT

RAW holds ``Training`` and ``Test``, each with ``Images/.../drishtiGS_002.png``
and ``GT/drishtiGS_002/SoftMap/drishtiGS_002_{ODseg,cupseg}Softmap.png`` (the
share of four experts; at least half of them must agree).
"""
import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from .cli import main
from .description import Collection, Labels, Split
from .labels import SOFT, merge
from .layout import Plane, find_by_names

READER = partial(merge, accepted=[SOFT, SOFT], nested=True)
PLANES = dict(ann=Plane(READER, ['odseg', 'cupseg']))


def kind_of(path: Path, folders: Sequence[str]) -> tuple[str, str] | None:
    """See ``layout.KindOf``."""
    soft = re.match(r'(.*)_(odseg|cupseg)softmap$', path.stem, re.IGNORECASE)
    if soft:
        return soft[2].lower(), soft[1]
    return ('images', path.stem) if 'images' in folders else None


find = partial(find_by_names, kind_of=kind_of, planes=PLANES)
COLLECTION = Collection(
    'Drishti-GS',
    'Drishti-GS-FOVCrop-padding',
    find,
    dict(train=Split(50), test=Split(51)),
    labels=dict(ann=Labels(2, task='odoc')))

if __name__ == '__main__':
    main(COLLECTION, __doc__)
