"""REFUGE: optic disc and cup, 400 photographs each to train, validate, test.

    python -m prepare_dataset.refuge RAW OUT

RAW holds ``Training400/{Glaucoma,Non-Glaucoma}/g0001.jpg`` with
``Annotation-Training400/Disc_Cup_Masks/.../g0001.bmp``,
``REFUGE-Validation400/V0001.jpg`` with ``REFUGE-Validation400-GT/
Disc_Cup_Masks/V0001.bmp``, and ``Test400/T0001.jpg`` with ``REFUGE-Test-GT/
Disc_Cup_Masks/{G,N}/T0001.bmp``. Masks of either polarity are understood. The
training photographs are only padded, as published.
"""
import sys
from functools import partial
from pathlib import Path
from typing import Optional

from .cli import main
from .description import Collection, Labels, Split
from .driver import run
from .labels import refuge
from .layout import Found, Item, images_by_stem, locate, orphans, require

PHOTOGRAPHS = dict(
    train=('Training400', 'REFUGE-Training400'),
    val=('REFUGE-Validation400', 'Validation400'),
    test=('Test400', 'REFUGE-Test400'))
MASKS = dict(
    train=('Annotation-Training400', ),
    val=('REFUGE-Validation400-GT', 'Validation400-GT'),
    test=('REFUGE-Test-GT', 'REFUGE-Test400-GT', 'Test400-GT'))


def find(raw: Path, split: str) -> Optional[Found]:
    """Find the photographs and masks."""
    folder = locate(raw, *PHOTOGRAPHS[split])
    if folder is None:
        return None
    found = Found(folder=folder)
    images = images_by_stem(folder, found, suffixes=('.jpg', '.jpeg'))
    endings = [f'{name}/Disc_Cup_Masks' for name in MASKS[split]]
    at = require(locate(raw, *endings), raw, f'the masks {endings[0]}')
    masks = images_by_stem(at, found, suffixes=('.bmp', '.png'))
    orphans(found, masks, images)
    for stem, image in images.items():
        if stem not in masks:
            found.problems.append(f'{image}: {stem}.bmp is missing in {at}; '
                                  'unpack the masks again.')
            continue
        found.items.append(
            Item(stem, image, dict(ann=partial(refuge, masks[stem]))))
    return found


COLLECTION = Collection(
    'REFUGE',
    'REFUGE-FOVCrop-padding',
    find,
    dict(train=Split(400, crop='pad'), val=Split(400), test=Split(400)),
    labels=dict(ann=Labels(2)))
prepare = partial(run, COLLECTION)

if __name__ == '__main__':
    sys.exit(main(COLLECTION, prepare, __doc__))
