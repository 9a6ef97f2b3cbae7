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
from .layout import (IMAGE_SUFFIXES, Found, Item, images_by_stem, locate,
                     orphans, require)


def find(raw: Path, split: str) -> Found | None:
    """Find the photographs and the vessel maps of both observers."""
    folder = locate(raw, 'stare-images', 'images')
    if folder is None:
        return None
    found = Found(folder=folder)

    def listed(at):
        return images_by_stem(at, found, (*IMAGE_SUFFIXES, '.gz'),
                              lambda s: s.split('.')[0])

    images = listed(folder)
    vessels = listed(require(locate(raw, 'labels-ah'), raw, 'labels-ah'))
    orphans(found, vessels, images)
    second = locate(raw, 'labels-vk')
    seconds = {} if second is None else listed(second)
    for stem in sorted(images.keys() & vessels.keys()):
        labels = dict(ann=partial(binary, vessels[stem]))
        if stem in seconds:
            labels['ann-vk'] = partial(binary, seconds[stem])
        found.items.append(Item(stem, images[stem], labels))
    rest = len(images.keys() - vessels.keys())
    if rest:
        found.notes.append(f'{rest} photographs have no vessel map in '
                           'labels-ah and are left out.')
    return found


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
