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
from .layout import Found, Item, images_by_stem, locate, orphans, require

RAW_FOLDERS = dict(train='Training', test='Test')


def find(raw: Path, split: str) -> Found | None:
    """Find the photographs and soft maps."""
    name = RAW_FOLDERS[split]
    folder = locate(raw, f'{name}/Images')
    if folder is None:
        return None
    found = Found(folder=folder)
    images = images_by_stem(folder, found)
    truth = require(
        locate(raw, f'{name}/GT', f'{name}/{name}_GT'), raw,
        f'the folder {name}/GT')

    def soft_maps(ending):
        files = images_by_stem(
            truth,
            found,
            key=lambda stem: stem[:-len(ending)]
            if stem.lower().endswith(ending) else None)
        orphans(found, files, images)
        return files

    discs, cups = soft_maps('_odsegsoftmap'), soft_maps('_cupsegsoftmap')
    for stem, image in images.items():
        if stem not in discs or stem not in cups:
            kind = 'cupseg' if stem in discs else 'ODseg'
            found.problems.append(
                f'{image}: {stem}_{kind}Softmap.png is missing in {truth}; '
                'unpack it again.')
            continue
        found.items.append(
            Item(stem, image,
                 dict(ann=partial(disc_and_cup, discs[stem], cups[stem]))))
    return found


COLLECTION = Collection(
    'Drishti-GS',
    'Drishti-GS-FOVCrop-padding',
    find,
    dict(train=Split(50), test=Split(51)),
    labels=dict(ann=Labels(2, task='odoc')))
prepare = partial(run, COLLECTION)

if __name__ == '__main__':
    sys.exit(main(COLLECTION, prepare, __doc__))
