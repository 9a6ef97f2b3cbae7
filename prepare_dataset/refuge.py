"""REFUGE: optic disc and cup, 400 photographs each to train, validate, test.

    python -m prepare_dataset.refuge RAW OUT

RAW holds ``Training400/{Glaucoma,Non-Glaucoma}/g0001.jpg`` with
``Annotation-Training400/Disc_Cup_Masks/.../g0001.bmp``,
``REFUGE-Validation400/V0001.jpg`` with ``REFUGE-Validation400-GT/
Disc_Cup_Masks/V0001.bmp``, and ``Test400/T0001.jpg`` with ``REFUGE-Test-GT/
Disc_Cup_Masks/{G,N}/T0001.bmp``. Copies in other trees, such as
``{train,val,test}/{Images,Masks}``, or all in one folder, are known by the
names of the files, or by those of the splits' folders. Masks of either
polarity are understood. The training photographs are only padded, as
published.
"""
import re
import sys
from functools import partial
from pathlib import Path

from .cli import main
from .description import Collection, Labels, Split
from .driver import run
from .labels import refuge
from .layout import Found, Plane, find_tree, pair, published_or_copy
from .mirrors import IMAGES, MASKS, endings_of_split, files_by_name

PHOTOGRAPHS = dict(
    train=('Training400', 'REFUGE-Training400'),
    val=('REFUGE-Validation400', 'Validation400'),
    test=('Test400', 'REFUGE-Test400'))
FOLDERS_OF_MASKS = dict(
    train=('Annotation-Training400', ),
    val=('REFUGE-Validation400-GT', 'Validation400-GT'),
    test=('REFUGE-Test-GT', 'REFUGE-Test400-GT', 'Test400-GT'))
NAMES = dict(train=r'[gn]\d{4}$', val=r'V\d{4}$', test=r'T\d{4}$')
PLANES = dict(ann=Plane(refuge, ['disc and cup']))


def find(raw: Path, split: str) -> Found | None:
    """Find the photographs and masks."""
    masks = [f'{at}/Disc_Cup_Masks' for at in FOLDERS_OF_MASKS[split]]
    return published_or_copy(
        partial(find_tree, raw, PHOTOGRAPHS[split], {'disc and cup': masks},
                PLANES), partial(_find_by_names, raw, split),
        partial(find_tree, raw, endings_of_split(split, IMAGES),
                {'disc and cup': endings_of_split(split, MASKS)}, PLANES))


def _find_by_names(raw: Path, split: str) -> Found | None:
    """Find the files of a split in copies of any tree."""
    found = Found(folder=raw)
    images, masks = files_by_name(
        raw, found, lambda stem: stem
        if re.match(NAMES[split], stem, re.IGNORECASE) else None)
    if not images and not masks:
        return None
    return pair(found, images, {'disc and cup': masks}, PLANES)


COLLECTION = Collection(
    'REFUGE',
    'REFUGE-FOVCrop-padding',
    find,
    dict(train=Split(400, crop='pad'), val=Split(400), test=Split(400)),
    labels=dict(ann=Labels(2, task='odoc')),
    tree=('Training400/{Glaucoma/g0001.jpg,Non-Glaucoma/n0001.jpg}',
          'Annotation-Training400/Disc_Cup_Masks/Glaucoma/g0001.bmp',
          'REFUGE-Validation400/V0001.jpg',
          'REFUGE-Validation400-GT/Disc_Cup_Masks/V0001.bmp',
          'or train/{images/g0001.jpg,masks/g0001.png}, val/..., test/...'))
prepare = partial(run, COLLECTION)

if __name__ == '__main__':
    sys.exit(main(COLLECTION, prepare, __doc__))
