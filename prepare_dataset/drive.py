"""DRIVE: vessels, 20 training and 20 test photographs, 565x584.

    python -m prepare_dataset.drive RAW OUT

RAW holds ``training`` and ``test``, each with ``images/21_training.tif``,
``1st_manual/21_manual1.gif``, ``mask/21_training_mask.gif`` and, in older
copies, ``test/2nd_manual/01_manual2.gif``, which goes to ``ann-2nd``.
"""
import sys
from functools import partial
from pathlib import Path

from .cli import main
from .description import SECOND_OBSERVER, Collection, Labels, Split
from .driver import run
from .labels import binary
from .layout import Found, Item, images_by_stem, locate, orphans

RAW_FOLDERS = dict(train='training', test='test')


def find(raw: Path, split: str) -> Found | None:
    """Find the photographs, vessel maps and field-of-view masks."""
    name = RAW_FOLDERS[split]
    folder = locate(raw, f'{name}/images')
    if folder is None:
        return None
    found = Found(folder=folder)

    def numbered(kind):
        at = locate(raw, f'{name}/{kind}')
        if at is None:
            return None
        return images_by_stem(at, found, key=lambda s: s.split('_')[0])

    images = numbered('images')
    vessels, seconds, masks = map(numbered,
                                  ('1st_manual', '2nd_manual', 'mask'))
    if vessels is None and split == 'train':
        found.problems.append(
            f'{folder.parent}: 1st_manual is missing, so that the photographs '
            'have no labels; unpack the archive again.')
    elif vessels is None:
        found.notes.append(
            f'{name}/1st_manual is missing, as in the copies of DRIVE '
            'published today: images are prepared without labels, so that '
            'they can be segmented but not scored.')
    unmasked = images.keys() - (masks or {}).keys()
    if unmasked:
        found.notes.append(
            f'{len(unmasked)} photographs have no file in {name}/mask: the '
            'field of view in fov/ is found instead.')
    orphans(found, vessels or {}, images)
    for number, image in images.items():
        labels = {}
        if vessels is not None:
            if number not in vessels:
                found.problems.append(
                    f'{image}: its vessel map {number}_manual1.gif is '
                    f'missing in {name}/1st_manual; unpack it again.')
                continue
            labels['ann'] = partial(binary, vessels[number])
        if number in (seconds or {}):
            labels['ann-2nd'] = partial(binary, seconds[number])
        found.items.append(
            Item(image.stem, image, labels, (masks or {}).get(number)))
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
