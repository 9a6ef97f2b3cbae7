"""STARE: vessels, 20 photographs, 700x605, without splits.

    python -m prepare_dataset.stare RAW OUT

RAW holds what the archives of the images and of the two observers unpack to:
``stare-images/im0001.ppm.gz``, ``labels-ah/im0001.ah.ppm.gz`` (goes to
``ann``) and ``labels-vk/im0001.vk.ppm.gz`` (goes to ``ann-vk``).
"""
import sys
from functools import partial
from pathlib import Path

from .cli import main
from .description import SECOND_OBSERVER, Collection, Labels, Split
from .driver import run
from .labels import binary
from .layout import (GO_WITHOUT, IMAGE_SUFFIXES, LEAVE_OUT, Found, Plane,
                     find_tree)

PLANES = {
    'ann': Plane(binary, ['labels-ah'], LEAVE_OUT),
    'ann-vk': Plane(binary, ['labels-vk'], GO_WITHOUT)
}


def find(raw: Path, split: str) -> Found | None:
    """Find the photographs and the vessel maps of both observers."""
    return find_tree(
        raw, ['stare-images', 'images'],
        {kind: [kind]
         for kind in ('labels-ah', 'labels-vk')},
        PLANES,
        optional=['labels-vk'],
        keys={'': lambda stem: stem.split('.')[0]},
        suffixes=(*IMAGE_SUFFIXES, '.gz'))


COLLECTION = Collection(
    'STARE',
    'STARE-FOVCrop-padding',
    find,
    dict(all=Split(20, folder='')),
    labels={
        'ann': Labels(task='vessel'),
        'ann-vk': SECOND_OBSERVER
    })
prepare = partial(run, COLLECTION)

if __name__ == '__main__':
    sys.exit(main(COLLECTION, prepare, __doc__))
