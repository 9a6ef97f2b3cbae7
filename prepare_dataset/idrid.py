"""IDRiD: lesions and optic disc, 54 training and 27 test photographs.

    python -m prepare_dataset.idrid RAW OUT

RAW holds ``A. Segmentation/1. Original Images/{a. Training Set,b. Testing
Set}/IDRiD_01.jpg`` and ``A. Segmentation/2. All Segmentation Groundtruths/
.../3. Hard Exudates/IDRiD_01_EX.tif``. A lesion that has no file, or no folder
because no photograph has it, is absent. The optic disc goes to ``OD``.
"""
import sys
from functools import partial
from pathlib import Path

from mbos.io import RefusedError, open_image
from .cli import main
from .description import Collection, Labels, Split
from .driver import run
from .errors import PrepareError
from .labels import binary, merge
from .layout import Found, Item, images_by_stem, locate, orphans

RAW_FOLDERS = dict(train='a. Training Set', test='b. Testing Set')
LESIONS = dict(
    EX='3. Hard Exudates',
    HE='2. Haemorrhages',
    SE='4. Soft Exudates',
    MA='1. Microaneurysms')
DISC = 'OD'
FOLDERS = dict(LESIONS, OD='5. Optic Disc')
PHOTOGRAPHS = dict(train=54, test=27)
MASKS = dict(
    EX=dict(train=54, test=27),
    HE=dict(train=53, test=27),
    SE=dict(train=26, test=14),
    MA=dict(train=54, test=27),
    OD=dict(train=54, test=27))
"""Number of masks that the owner publishes."""
SIZE = (4288, 2848)
FOLDER = 'IDRiD-FOVCrop-padding'


def find_photographs(raw: Path, split: str,
                     found: Found) -> dict[str, Path] | None:
    """Find the photographs of a split by name, or None."""
    found.folder = locate(raw, f'1. Original Images/{RAW_FOLDERS[split]}')
    if found.folder is None:
        return None
    return images_by_stem(found.folder, found)


def find(raw: Path, split: str) -> Found | None:
    """Find the photographs and masks."""
    found = Found()
    images = find_photographs(raw, split, found)
    if images is None:
        return None
    truth = f'2. All Segmentation Groundtruths/{RAW_FOLDERS[split]}'
    masks = {
        name: _masks(locate(raw, f'{truth}/{folder}'), name, found, images)
        for name, folder in FOLDERS.items()
    }
    if not any(masks[name] for name in LESIONS):
        raise PrepareError(
            f'{raw}: no lesion masks found in {truth}; unpack the '
            'groundtruths of the segmentation part there.')
    _report_missing(found, masks, images, truth, split)
    discs = masks[DISC] or {}
    lesions = [masks[name] or {} for name in LESIONS]
    for stem, image in images.items():
        paths = [files.get(stem) for files in lesions]
        if not any(paths):
            found.problems.append(f'{image}: there is no single lesion mask '
                                  'of it; unpack the groundtruths again.')
            continue
        labels = dict(ann=partial(merge, paths))
        if stem in discs:
            labels['OD'] = partial(binary, discs[stem])
        elif masks[DISC] is not None:
            found.problems.append(f'{image}: there is no optic disc mask of '
                                  'it; unpack the groundtruths again.')
            continue
        found.items.append(Item(stem, image, labels))
    return found


def _masks(folder: Path | None, name: str, found: Found,
           images: dict[str, Path]) -> dict[str, Path] | None:
    """Masks of one structure by photograph, None without a folder."""
    if folder is None:
        return None
    files = images_by_stem(
        folder, found, key=lambda stem: stem.replace(f'_{name}', ''))
    orphans(found, files, images)
    return files


def _is_original(images: dict[str, Path]) -> bool:
    """Whether the first photograph has the size that the owner publishes."""
    try:
        with open_image(next(iter(images.values()))) as image:
            return image.size == SIZE
    except (OSError, RefusedError):
        return False  # reported when it is prepared


def _report_missing(found: Found, masks: dict[str, dict[str, Path] | None],
                    images: dict[str, Path], truth: str, split: str) -> None:
    """Distinguish absent lesions, which have no file, from missing files.

    That is possible where all the owner's photographs of the split are there,
    because the number of masks is known then.
    """
    whole = len(images) == PHOTOGRAPHS[split] and _is_original(images)
    for name, files in masks.items():
        expected = MASKS[name][split]
        count = 0 if files is None else len(files)
        at = f'{truth}/{FOLDERS[name]}'
        if (whole and count < expected) or (files is None and name == DISC):
            found.problems.append(
                f'{at}: holds {count} of {expected} masks that the owner '
                'publishes; unpack the groundtruths again. What is prepared '
                f'lacks {name}.')
        elif files is None:
            found.notes.append(f'{at}: there is no such folder, so that no '
                               f'photograph has {name}.')


COLLECTION = Collection(
    'IDRiD',
    FOLDER,
    find, {
        name: Split(count)
        for name, count in PHOTOGRAPHS.items()
    },
    labels=dict(
        ann=Labels(4, may_be_empty=True, task='lesion'),
        OD=Labels(optional=True, task='odoc')))
prepare = partial(run, COLLECTION)

if __name__ == '__main__':
    sys.exit(main(COLLECTION, prepare, __doc__))
