"""Drishti-GS: optic disc and cup, 50 training and 51 test photographs.

    python -m prepare_dataset.drishti_gs RAW OUT

RAW holds ``Training`` and ``Test``, each with ``Images/.../drishtiGS_002.png``
and ``GT/drishtiGS_002/SoftMap/drishtiGS_002_{ODseg,cupseg}Softmap.png`` (the
share of four experts; at least half of them must agree).
"""
import sys
from functools import partial
from pathlib import Path

from .cli import main
from .description import Collection, Labels, Split
from .driver import run
from .labels import disc_and_cup
from .layout import Found, Plane, find_tree

RAW_FOLDERS = dict(train='Training', test='Test')
KINDS = ('ODseg', 'cupseg')


def _soft_map(kind: str, stem: str) -> str | None:
    """The photograph of a soft map, None of other files."""
    name, _, ending = stem.rpartition('_')
    return name if ending.lower() == f'{kind}Softmap'.lower() else None


def find(raw: Path, split: str) -> Found | None:
    """Find the photographs and soft maps."""
    name = RAW_FOLDERS[split]
    truth = [f'{name}/GT', f'{name}/{name}_GT']
    return find_tree(
        raw, [f'{name}/Images'],
        dict.fromkeys(KINDS, truth),
        dict(ann=Plane(disc_and_cup, KINDS)),
        keys={kind: partial(_soft_map, kind)
              for kind in KINDS})


COLLECTION = Collection(
    'Drishti-GS',
    'Drishti-GS-FOVCrop-padding',
    find,
    dict(train=Split(50), test=Split(51)),
    labels=dict(ann=Labels(2, task='odoc')))
prepare = partial(run, COLLECTION)

if __name__ == '__main__':
    sys.exit(main(COLLECTION, prepare, __doc__))
