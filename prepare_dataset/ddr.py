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
from .layout import Files, Found, Plane, find_tree, pair, published_or_copy
from .mirrors import IMAGES, MASKS, endings_of_split, files_of_splits

RAW_FOLDERS = dict(train='train', val='valid', test='test')
LESIONS = dict(
    EX=('EX', 'hard exudates', 'hard_exudates', 'hardexudates', 'exudates'),
    HE=('HE', 'haemorrhages', 'hemorrhages', 'haemorrhage', 'hemorrhage'),
    SE=('SE', 'soft exudates', 'soft_exudates', 'softexudates'),
    MA=('MA', 'microaneurysms', 'microaneurysm'))
"""dict[str, tuple]: Names of the lesions' folders."""
PLANES = dict(ann=Plane(merge, tuple(LESIONS)))


def find(raw: Path, split: str) -> Found | None:
    """Find the photographs and lesion masks."""
    name = RAW_FOLDERS[split]
    # The archive also holds folders of these names for grading.
    tops = [f'lesion_segmentation/{name}', name]
    masks = {
        lesion: [
            *(f'{top}/{label}/{lesion}' for top in tops
              for label in ('label', 'segmentation label')),
            *endings_of_split(split, MASKS, names)
        ]
        for lesion, names in LESIONS.items()
    }
    images = [f'{top}/image' for top in tops] + endings_of_split(split, IMAGES)
    return published_or_copy(
        partial(find_tree, raw, images, masks, PLANES),
        partial(_find_by_names, raw, split))


def _find_by_names(raw: Path, split: str) -> Found | None:
    """Find the files of a split where only the names of folders and files
    say what is a mask, such as ``train/EX`` beside the photographs.
    """
    found = Found(folder=raw)
    images: Files = {}
    lesions: dict[str, Files] = {lesion: {} for lesion in LESIONS}
    for stem, folders, path in files_of_splits(raw, split, found):
        bare, _, ending = stem.rpartition('_')
        for lesion, names in LESIONS.items():
            lower = [name.lower() for name in names]
            ends = ending.lower() in lower
            if ends or set(lower) & set(folders):
                lesions[lesion][bare if ends else stem] = path
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
    return pair(found, there, lesions, PLANES)


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
