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
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from .cli import main
from .description import Collection, Labels, Split
from .labels import refuge
from .layout import Found, Plane, gather, pair, photograph_or_mask

NAMES = dict(train=r'[gn]\d{4}$', val=r'V\d{4}$', test=r'T\d{4}$')
KIND = 'disc and cup'
PLANES = dict(ann=Plane(refuge, [KIND]))


def find(raw: Path, split: str) -> Found | None:
    """Find the photographs and masks by their names, or else those of a
    folder that is called like the split.
    """

    def of_split(path: Path, folders: Sequence[str]) -> tuple[str, str] | None:
        place = photograph_or_mask(KIND, path, folders)
        is_named = place and re.match(NAMES[split], place[1], re.IGNORECASE)
        return place if is_named else None

    found = Found(raw)
    files = gather(found, of_split) or gather(
        found, partial(photograph_or_mask, KIND), split)
    return pair(found, files, PLANES)


COLLECTION = Collection(
    'REFUGE',
    'REFUGE-FOVCrop-padding',
    find,
    dict(train=Split(400, crop='pad'), val=Split(400), test=Split(400)),
    labels=dict(ann=Labels(2, task='odoc')))

if __name__ == '__main__':
    main(COLLECTION, __doc__)
