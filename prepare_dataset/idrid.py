"""IDRiD: lesions and optic disc, 54 training and 27 test photographs.

    python -m prepare_dataset.idrid RAW OUT

RAW holds ``A. Segmentation/1. Original Images/{a. Training Set,b. Testing
Set}/IDRiD_01.jpg`` and ``A. Segmentation/2. All Segmentation Groundtruths/
.../3. Hard Exudates/IDRiD_01_EX.tif``. A lesion without a file is absent. The
optic disc goes to ``OD``.
"""
import sys
from functools import partial
from pathlib import Path
from typing import Dict, Optional

from .cli import main
from .driver import Collection, Split, run
from .labels import binary, merge
from .layout import Found, Item, images_by_stem, locate, orphans, require

RAW_FOLDERS = dict(train='a. Training Set', test='b. Testing Set')
LESIONS = dict(
    EX='3. Hard Exudates',
    HE='2. Haemorrhages',
    SE='4. Soft Exudates',
    MA='1. Microaneurysms')
DISC = '5. Optic Disc'
FOLDER = 'IDRiD-FOVCrop-padding'


def find_photographs(raw: Path, split: str,
                     found: Found) -> Optional[Dict[str, Path]]:
    """Find the photographs of a split by name, or None."""
    found.folder = locate(raw, f'1. Original Images/{RAW_FOLDERS[split]}')
    if found.folder is None:
        return None
    return images_by_stem(found.folder, found)


def find(raw: Path, split: str) -> Optional[Found]:
    """Find the photographs and masks."""
    found = Found()
    images = find_photographs(raw, split, found)
    if images is None:
        return None

    def masks(folder, suffix):
        ending = (f'2. All Segmentation Groundtruths/{RAW_FOLDERS[split]}/'
                  f'{folder}')
        at = require(locate(raw, ending), raw, f'the folder {ending}')
        files = images_by_stem(
            at, found, key=lambda stem: stem.replace(f'_{suffix}', ''))
        orphans(found, files, images)
        return files

    discs = masks(DISC, 'OD')
    lesions = [masks(folder, suffix) for suffix, folder in LESIONS.items()]
    for stem, image in images.items():
        paths = [files.get(stem) for files in lesions]
        if not any(paths) or stem not in discs:
            kind = 'optic disc' if any(paths) else 'single lesion'
            found.problems.append(f'{image}: there is no {kind} mask of it; '
                                  'unpack the groundtruths again.')
            continue
        found.items.append(
            Item(
                stem, image,
                dict(
                    ann=partial(merge, paths), OD=partial(binary,
                                                          discs[stem]))))
    return found


COLLECTION = Collection(
    'IDRiD', FOLDER, find, dict(train=Split(54), test=Split(27)), classes=4)
prepare = partial(run, COLLECTION)

if __name__ == '__main__':
    sys.exit(main(COLLECTION, prepare, __doc__))
