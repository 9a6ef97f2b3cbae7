"""STARE: vessels, 20 photographs, 700x605, without splits.

    python -m prepare_dataset.stare RAW OUT

RAW holds what the archives of the images and of the two observers unpack to:
``stare-images/im0001.ppm.gz``, ``labels-ah/im0001.ah.ppm.gz`` (goes to
``ann``) and ``labels-vk/im0001.vk.ppm.gz`` (goes to ``ann-vk``).
"""
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from .cli import main
from .description import SECOND_OBSERVER, Collection, Labels, Split
from .labels import binary
from .layout import (GO_WITHOUT, IMAGE_SUFFIXES, LEAVE_OUT, Plane,
                     find_by_names, nearest)

FOLDERS = {
    'stare-images': 'images',
    'images': 'images',
    'labels-ah': 'labels-ah',
    'labels-vk': 'labels-vk'
}
PLANES = {
    'ann': Plane(binary, ['labels-ah'], LEAVE_OUT),
    'ann-vk': Plane(binary, ['labels-vk'], GO_WITHOUT)
}


def kind_of(path: Path, folders: Sequence[str]) -> tuple[str, str] | None:
    """See ``layout.KindOf``."""
    kind = nearest(folders, FOLDERS)
    return kind and (kind, path.stem.split('.')[0])


find = partial(
    find_by_names,
    kind_of=kind_of,
    planes=PLANES,
    has_splits=False,
    suffixes=(*IMAGE_SUFFIXES, '.gz'))
COLLECTION = Collection(
    'STARE',
    'STARE-FOVCrop-padding',
    find,
    dict(all=Split(20, folder='')),
    labels={
        'ann': Labels(task='vessel'),
        'ann-vk': SECOND_OBSERVER
    })

if __name__ == '__main__':
    main(COLLECTION, __doc__)
