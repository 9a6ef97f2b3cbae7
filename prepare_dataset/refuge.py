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
from .layout import Found, Item, images_by_stem, locate, orphans, require
from .mirrors import IMAGES, MASKS, files_by_name, folder_of_split

PHOTOGRAPHS = dict(
    train=('Training400', 'REFUGE-Training400'),
    val=('REFUGE-Validation400', 'Validation400'),
    test=('Test400', 'REFUGE-Test400'))
FOLDERS_OF_MASKS = dict(
    train=('Annotation-Training400', ),
    val=('REFUGE-Validation400-GT', 'Validation400-GT'),
    test=('REFUGE-Test-GT', 'REFUGE-Test400-GT', 'Test400-GT'))

NAMES = dict(
    train=re.compile(r'[gn]\d{4}$', re.IGNORECASE),
    val=re.compile(r'V\d{4}$', re.IGNORECASE),
    test=re.compile(r'T\d{4}$', re.IGNORECASE))


def find(raw: Path, split: str) -> Found | None:
    """Find the photographs and masks."""
    folder = locate(raw, *PHOTOGRAPHS[split])
    if folder is None:
        return _find_by_names(raw, split) or _find_by_folders(raw, split)
    found = Found(folder=folder)
    images = images_by_stem(folder, found, suffixes=('.jpg', '.jpeg'))
    endings = [f'{name}/Disc_Cup_Masks' for name in FOLDERS_OF_MASKS[split]]
    at = locate(raw, *endings)
    if at is None or not images:
        copy = _find_by_names(raw, split)
        if copy is not None and copy.items:
            return copy
    at = require(at, raw, f'the masks {endings[0]}')
    masks = images_by_stem(at, found, suffixes=('.bmp', '.png'))
    return _pair(found, images, masks, at)


def _find_by_names(raw: Path, split: str) -> Found | None:
    """Find the files of a split in copies of any tree."""
    found = Found(folder=raw)
    images, masks = files_by_name(
        raw, found, lambda stem: stem if NAMES[split].match(stem) else None)
    if not images and not masks:
        return None
    return _pair(found, images, masks, raw)


def _find_by_folders(raw: Path, split: str) -> Found | None:
    """Find the files of a split in copies that number them anew."""
    folder = folder_of_split(raw, split, IMAGES)
    at = folder_of_split(raw, split, MASKS)
    if folder is None or at is None:
        return None
    found = Found(folder=folder)
    return _pair(found, images_by_stem(folder, found),
                 images_by_stem(at, found), at)


def _pair(found: Found, images: dict[str, Path], masks: dict[str, Path],
          at: Path) -> Found:
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
    labels=dict(ann=Labels(2, task='odoc')),
    tree=('Training400/{Glaucoma/g0001.jpg,Non-Glaucoma/n0001.jpg}',
          'Annotation-Training400/Disc_Cup_Masks/Glaucoma/g0001.bmp',
          'REFUGE-Validation400/V0001.jpg',
          'REFUGE-Validation400-GT/Disc_Cup_Masks/V0001.bmp',
          'or train/{images/g0001.jpg,masks/g0001.png}, val/..., test/...'))
prepare = partial(run, COLLECTION)

if __name__ == '__main__':
    sys.exit(main(COLLECTION, prepare, __doc__))
