"""DRIVE: vessels, 20 training and 20 test photographs, 565x584.

    python -m prepare_dataset.drive RAW OUT

RAW holds ``training`` and ``test``, each with ``images/21_training.tif``,
``1st_manual/21_manual1.gif``, ``mask/21_training_mask.gif`` and, in older
copies, ``test/2nd_manual/01_manual2.gif``, which goes to ``ann-2nd``.
"""
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from .cli import main
from .description import SECOND_OBSERVER, Collection, Labels, Split
from .labels import binary
from .layout import GO_WITHOUT, Found, Plane, gather, nearest, pair

FOLDERS = {
    'images': 'images',
    '1st_manual': 'vessel',
    '2nd_manual': 'second',
    'mask': 'fov'
}
PLANES = {
    'ann': Plane(binary, ['vessel']),
    'ann-2nd': Plane(binary, ['second'], GO_WITHOUT)
}


def kind_of(path: Path, folders: Sequence[str]) -> tuple[str, str] | None:
    """See ``layout.KindOf``."""
    kind = nearest(folders, FOLDERS)
    return kind and (kind, path.stem.split('_')[0])


def find(raw: Path, split: str) -> Found | None:
    """Find the photographs, vessel maps and field-of-view masks."""
    found = Found(raw)
    optional = ['vessel'] if split == 'test' else []
    if not pair(found, gather(found, kind_of, split), PLANES, optional):
        return None
    found.items = [replace(i, stem=i.image.stem) for i in found.items]
    if not any(item.labels for item in found.items) and split == 'test':
        found.notes.append(
            'test/1st_manual is missing, as in the copies of DRIVE published '
            'today: images are prepared without labels, so that they can be '
            'segmented but not scored.')
    return found


COLLECTION = Collection(
    'DRIVE',
    'DRIVE-FOVCrop-padding',
    find,
    dict(train=Split(20), test=Split(20, may_lack_labels=True)),
    labels={
        'ann': Labels(task='vessel'),
        'ann-2nd': SECOND_OBSERVER
    },
    image_suffix='.tif')

if __name__ == '__main__':
    main(COLLECTION, __doc__)
