"""IDRiD: lesions and optic disc, 54 training and 27 test photographs.

    python -m prepare_dataset.idrid RAW OUT

RAW holds ``A. Segmentation/1. Original Images/{a. Training Set,b. Testing
Set}/IDRiD_01.jpg`` and ``A. Segmentation/2. All Segmentation Groundtruths/
.../3. Hard Exudates/IDRiD_01_EX.tif``. A lesion that has no file, or no folder
because no photograph has it, is absent. The optic disc goes to ``OD``.
"""
import re
from collections.abc import Sequence
from pathlib import Path

from .cli import main
from .description import Collection, Labels, Split
from .labels import binary, merge
from .layout import Files, Found, Plane, gather, nearest, pair

FOLDERS = {
    '1. original images': 'images',
    '3. hard exudates': 'EX',
    '2. haemorrhages': 'HE',
    '4. soft exudates': 'SE',
    '1. microaneurysms': 'MA',
    '5. optic disc': 'OD'
}
OTHERS = {'b. disease grading', 'c. localization'}
"""set: Parts of the archive that hold other photographs."""
LESIONS = ('EX', 'HE', 'SE', 'MA')
PHOTOGRAPHS = dict(train=54, test=27)
MASKS = dict(
    train=dict(EX=54, HE=53, SE=26, MA=54, OD=54),
    test=dict(EX=27, HE=27, SE=14, MA=27, OD=27))
"""Number of masks that the owner publishes."""
FOLDER = 'IDRiD-FOVCrop-padding'
PLANES = dict(
    ann=Plane(merge, LESIONS, some_suffice=True), OD=Plane(binary, ['OD']))


def kind_of(path: Path, folders: Sequence[str]) -> tuple[str, str] | None:
    """See ``layout.KindOf``."""
    kind = None if OTHERS & set(folders) else nearest(folders, FOLDERS)
    return kind and (kind, re.sub(r'_(EX|HE|SE|MA|OD)$', '', path.stem))


def find(raw: Path, split: str) -> Found | None:
    """Find the photographs and masks."""
    found = Found(raw)
    files = gather(found, kind_of, split)
    _report_missing(found, files, split)
    return pair(found, files, PLANES, optional=['OD'])


def _report_missing(found: Found, files: dict[str, Files], split: str) -> None:
    """Distinguish absent lesions, which have no file, from missing files.

    That is possible where all the owner's photographs of the split are there,
    because the number of masks is known then.
    """
    whole = len(files.get('images', ())) == PHOTOGRAPHS[split]
    for kind, expected in MASKS[split].items() if files else ():
        count = len(files.get(kind, ()))
        if (whole and count < expected) or (not count and kind == 'OD'):
            found.problems.append(
                f'{found.folder}: split {split!r} has {count} of {expected} '
                f'masks of {kind} that the owner publishes; unpack the '
                f'groundtruths again. What is prepared lacks {kind}.')
        elif not count:
            found.notes.append(f'{found.folder}: split {split!r} has no masks '
                               f'of {kind}, so that no photograph has it.')


COLLECTION = Collection(
    'IDRiD',
    FOLDER,
    find, {
        name: Split(count)
        for name, count in PHOTOGRAPHS.items()
    },
    labels=dict(
        ann=Labels(4, may_be_empty=True, task='lesion'),
        OD=Labels(optional=True, task='odoc'),
        vessel=Labels(optional=True, task='vessel')))  # of idrid_vessels

if __name__ == '__main__':
    main(COLLECTION, __doc__)
