"""ARIA: vessels, 143 photographs, 768x576, without splits.

    python -m prepare_dataset.aria RAW OUT

RAW holds ``aria_{a,c,d}_markups/*.tif`` (AMD, control, diabetic) and vessel
maps of two observers, ``aria_{a,c,d}_markup_vessel/*_{BDP,BSS}.tif``, which go
to ``ann`` and ``ann-BSS``. Spaces and prefixes such as ``(0001)`` are dropped
from the names. Copies without these folders are known by the names of the
files: ``*_BDP`` and ``*_BSS`` are vessel maps, as are files of the same names
as the photographs in a folder that is called like one of masks. The
photographs are only padded, as published.
"""
import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from .cli import main
from .description import SECOND_OBSERVER, Collection, Labels, Split
from .labels import soft_binary
from .layout import GO_WITHOUT, Plane, find_by_names, photograph_or_mask

PLANES = {
    'ann': Plane(soft_binary, ['BDP']),
    'ann-BSS': Plane(soft_binary, ['BSS'], GO_WITHOUT)
}


def kind_of(path: Path, folders: Sequence[str]) -> tuple[str, str] | None:
    """See ``layout.KindOf``; vessel maps without an observer's name are taken
    for those of the first.
    """
    observer = re.search(r'\s*_(BDP|BSS)$', path.stem, re.IGNORECASE)
    place = photograph_or_mask('BDP', path, folders)
    if observer:
        place = observer[1].upper(), path.stem[:observer.start()]
    # without spaces, and prefixes such as '(0001)'
    return place and (place[0], re.sub(r'^\(\d+\)|\s+', '', place[1].strip()))


find = partial(find_by_names, kind_of=kind_of, planes=PLANES, has_splits=False)
COLLECTION = Collection(
    'ARIA',
    'ARIA-FOVCrop-padding',
    find,
    dict(all=Split(143, crop='pad', folder='')),
    labels={
        'ann': Labels(task='vessel'),
        'ann-BSS': SECOND_OBSERVER
    },
    image_suffix='.tif')

if __name__ == '__main__':
    main(COLLECTION, __doc__)
