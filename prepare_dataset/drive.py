"""DRIVE: vessels, 20 training and 20 test photographs, 565x584.

    python -m prepare_dataset.drive RAW OUT

RAW holds ``training`` and ``test``, each with ``images/21_training.tif``,
``1st_manual/21_manual1.gif``, ``mask/21_training_mask.gif`` and, in older
copies, ``test/2nd_manual/01_manual2.gif``, which goes to ``ann-2nd``.
"""
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

from .cli import main
from .description import SECOND_OBSERVER, Collection, Labels, Split
from .driver import run
from .labels import binary
from .layout import GO_WITHOUT, Found, Plane, find_tree

RAW_FOLDERS = dict(train='training', test='test')
PLANES = {
    'ann': Plane(binary, ['vessel']),
    'ann-2nd': Plane(binary, ['second'], GO_WITHOUT)
}


def find(raw: Path, split: str) -> Found | None:
    """Find the photographs, vessel maps and field-of-view masks."""
    name = RAW_FOLDERS[split]
    masks = dict(vessel='1st_manual', second='2nd_manual', fov='mask')
    found = find_tree(
        raw, [f'{name}/images'], {
            kind: [f'{name}/{at}']
            for kind, at in masks.items()
        },
        PLANES,
        optional=['second', 'fov', *['vessel'] * (split == 'test')],
        keys={'': lambda stem: stem.split('_')[0]})
    if found is None:
        return None
    found.items = [replace(i, stem=i.image.stem) for i in found.items]
    if not any(item.labels for item in found.items):
        found.notes.append(
            f'{name}/1st_manual is missing, as in the copies of DRIVE '
            'published today: images are prepared without labels, so that '
            'they can be segmented but not scored.')
    unmasked = sum(item.fov is None for item in found.items)
    if unmasked:
        found.notes.append(
            f'{unmasked} photographs have no file in {name}/mask: the '
            'field of view in fov/ is found instead.')
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
prepare = partial(run, COLLECTION)

if __name__ == '__main__':
    sys.exit(main(COLLECTION, prepare, __doc__))
