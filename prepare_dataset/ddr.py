"""DDR: lesions, 383 training, 149 validation and 225 test photographs.

    python -m prepare_dataset.ddr RAW OUT

RAW holds ``lesion_segmentation/{train,valid,test}/image/007-1774-100.jpg`` and
masks ``{train,test}/label/{EX,HE,MA,SE}/007-1774-100.tif``, which are called
``valid/segmentation label/...`` for validation. Copies that call the folders
``val``, ``images``, ``labels`` or ``annotations``, put the split below, or
have photographs beside the folders of lesions, are understood.
"""
import sys
from functools import partial
from pathlib import Path

from .cli import main
from .description import Collection, Labels, Split
from .driver import run
from .labels import merge
from .layout import Found, Item, images_by_stem, locate, orphans, require
from .mirrors import IMAGES, MASKS, files_of_splits, folder_of_split

RAW_FOLDERS = dict(train='train', val='valid', test='test')
LESIONS = dict(
    EX=('EX', 'hard exudates', 'hard_exudates', 'hardexudates', 'exudates'),
    HE=('HE', 'haemorrhages', 'hemorrhages', 'haemorrhage', 'hemorrhage'),
    SE=('SE', 'soft exudates', 'soft_exudates', 'softexudates'),
    MA=('MA', 'microaneurysms', 'microaneurysm'))
"""dict[str, tuple]: Names of the lesions' folders."""


def find(raw: Path, split: str) -> Found | None:
    """Find the photographs and lesion masks."""
    name = RAW_FOLDERS[split]
    # The archive also holds folders of these names for grading.
    folder = locate(raw, f'lesion_segmentation/{name}/image', f'{name}/image')
    if folder is None:
        folder = folder_of_split(raw, split, IMAGES)
    if folder is None:
        return _find_by_names(raw, split)
    found = Found(folder=folder)
    images = images_by_stem(folder, found)

    places = {lesion: _mask_folder(raw, split, lesion) for lesion in LESIONS}
    if None in places.values():
        copy = _find_by_names(raw, split)
        if copy is not None and copy.items:
            return copy
    lesions = {}
    for lesion, at in places.items():
        at = require(at, raw, f'the masks {name}/label/{lesion}')
        lesions[lesion] = images_by_stem(at, found)
        orphans(found, lesions[lesion], images)
    return _pair(found, images, lesions)


def _mask_folder(raw: Path, split: str, lesion: str) -> Path | None:
    endings = [
        f'{parent}{RAW_FOLDERS[split]}/{label}/{lesion}'
        for parent in ('lesion_segmentation/', '')
        for label in ('label', 'segmentation label')
    ]
    return locate(raw, *endings) or folder_of_split(raw, split, MASKS,
                                                    LESIONS[lesion])


def _find_by_names(raw: Path, split: str) -> Found | None:
    """Find the files of a split where only the names of folders and files
    say what is a mask, such as ``train/EX`` beside the photographs.
    """
    found = Found(folder=raw)
    images: dict[str, Path] = {}
    lesions: dict[str, dict[str, Path]] = {lesion: {} for lesion in LESIONS}
    for stem, folders, path in files_of_splits(raw, split, found):
        bare, _, ending = stem.rpartition('_')
        for lesion, names in LESIONS.items():
            lower = [name.lower() for name in names]
            if ending.lower() in lower:
                lesions[lesion][bare] = path
                break
            if set(lower) & set(folders):
                lesions[lesion][stem] = path
                break
        else:
            images[stem] = path
    labelled = set().union(*lesions.values())
    there = {k: v for k, v in images.items() if k in labelled}
    if not there:
        return None
    if len(there) < len(images):
        found.notes.append(f'{len(images) - len(there)} photographs have no '
                           'lesion mask and are left out.')
    return _pair(found, there, lesions)


def _pair(found: Found, images: dict[str, Path],
          lesions: dict[str, dict[str, Path]]) -> Found:
    for stem, image in images.items():
        missing = [name for name in LESIONS if stem not in lesions[name]]
        if missing:
            found.problems.append(
                f'{image}: {stem}.tif is missing among the masks of '
                f'{", ".join(missing)}; unpack it again (DDR has all four of '
                'every photograph, empty ones too).')
            continue
        paths = [lesions[name][stem] for name in LESIONS]
        found.items.append(Item(stem, image, dict(ann=partial(merge, paths))))
    return found


COLLECTION = Collection(
    'DDR',
    'DDR-FOVCrop-padding',
    find,
    dict(train=Split(383), val=Split(149), test=Split(225)),
    labels=dict(ann=Labels(4, may_be_empty=True, task='lesion')),
    tree=('lesion_segmentation/train/image/007-1774-100.jpg',
          'lesion_segmentation/train/label/{EX,HE,MA,SE}/007-1774-100.tif',
          'lesion_segmentation/valid/segmentation label/EX/...',
          'or {train,val,test}/{images,labels/EX,...}, or images/train/...'))
prepare = partial(run, COLLECTION)

if __name__ == '__main__':
    sys.exit(main(COLLECTION, prepare, __doc__))
