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

from .cli import main
from .description import Collection, Labels, Split
from .driver import run
from .errors import PrepareError
from .labels import binary, merge
from .layout import Found, Plane, find_tree

RAW_FOLDERS = dict(train='a. Training Set', test='b. Testing Set')
FOLDERS = dict(
    EX='3. Hard Exudates',
    HE='2. Haemorrhages',
    SE='4. Soft Exudates',
    MA='1. Microaneurysms',
    OD='5. Optic Disc')
LESIONS = ('EX', 'HE', 'SE', 'MA')
PHOTOGRAPHS = dict(train=54, test=27)
MASKS = dict(
    train=dict(EX=54, HE=53, SE=26, MA=54, OD=54),
    test=dict(EX=27, HE=27, SE=14, MA=27, OD=27))
"""Number of masks that the owner publishes."""
FOLDER = 'IDRiD-FOVCrop-padding'
PLANES = dict(
    ann=Plane(merge, LESIONS, some_suffice=True), OD=Plane(binary, ['OD']))


def _photograph(kind: str, stem: str) -> str:
    return stem.replace(f'_{kind}', '')


def find(raw: Path, split: str) -> Found | None:
    """Find the photographs and masks."""
    truth = f'2. All Segmentation Groundtruths/{RAW_FOLDERS[split]}'
    found = find_tree(
        raw, [f'1. Original Images/{RAW_FOLDERS[split]}'], {
            kind: [f'{truth}/{at}']
            for kind, at in FOLDERS.items()
        },
        PLANES,
        optional=list(FOLDERS),
        keys={kind: partial(_photograph, kind)
              for kind in FOLDERS})
    if found is None:
        return None
    if not any(found.masks[kind] for kind in LESIONS):
        raise PrepareError(
            f'{raw}: no lesion masks found in {truth}; unpack the '
            'groundtruths of the segmentation part there.')
    _report_missing(found, truth, split)
    return found


def _report_missing(found: Found, truth: str, split: str) -> None:
    """Distinguish absent lesions, which have no file, from missing files.

    That is possible where all the owner's photographs of the split are there,
    because the number of masks is known then.
    """
    whole = len(found.images) == PHOTOGRAPHS[split]
    for kind, files in found.masks.items():
        expected, count = MASKS[split][kind], len(files or ())
        at = f'{truth}/{FOLDERS[kind]}'
        if (whole and count < expected) or (files is None and kind == 'OD'):
            found.problems.append(
                f'{at}: holds {count} of {expected} masks that the owner '
                'publishes; unpack the groundtruths again. What is prepared '
                f'lacks {kind}.')
        elif files is None:
            found.notes.append(f'{at}: there is no such folder, so that no '
                               f'photograph has {kind}.')


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
