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
import sys
from contextlib import suppress
from functools import partial
from pathlib import Path

from .cli import main
from .description import SECOND_OBSERVER, Collection, Labels, Split
from .driver import run
from .errors import MissingFolderError
from .labels import soft_binary
from .layout import GO_WITHOUT, Found, Plane, find_tree, images_by_stem, pair
from .mirrors import files_by_name

OBSERVERS = ('BDP', 'BSS')
PLANES = {
    'ann': Plane(soft_binary, ['BDP']),
    'ann-BSS': Plane(soft_binary, ['BSS'], GO_WITHOUT)
}


def clean(stem: str) -> str:
    """Name of a photograph or vessel map without spaces and prefix."""
    return re.sub(r'^\(\d+\)|\s+', '', stem.strip())


def _observed(observer: str, stem: str) -> str | None:
    """The photograph of an observer's vessel map, None of other files."""
    name = clean(stem)
    ending = f'_{observer}'
    return name[:-len(ending)] if name.upper().endswith(ending) else None


KEYS = {name: partial(_observed, name) for name in OBSERVERS}


def find(raw: Path, split: str) -> Found | None:
    """Find the photographs and the vessel maps of both observers."""
    found, missing = Found(folder=raw), []
    for group in 'acd':
        images, maps = f'aria_{group}_markups', f'aria_{group}_markup_vessel'
        part = None
        with suppress(MissingFolderError):
            part = find_tree(
                raw, [images],
                dict.fromkeys(OBSERVERS, [maps]),
                PLANES,
                keys=dict(KEYS, images=clean))
        if part is None:
            missing.append(f'{raw}: {images} or {maps} is missing; unpack '
                           'its archive.')
            continue
        found.items += part.items
        found.problems += part.problems
        found.left_out |= part.left_out
    found.problems += missing
    return found if len(missing) < 3 else _find_by_names(raw)


def _find_by_names(raw: Path) -> Found | None:
    """Find photographs and vessel maps in copies of any tree."""
    found = Found(folder=raw)
    maps = {
        observer: images_by_stem(raw, found, key)
        for observer, key in KEYS.items()
    }

    def others(stem):
        return None if any(key(stem) for key in KEYS.values()) else clean(stem)

    images, named_alike = files_by_name(raw, found, others)
    if not images or not (maps['BDP'] or named_alike):
        return None
    maps['BDP'] = {**named_alike, **maps['BDP']}
    return pair(found, images, maps, PLANES)


COLLECTION = Collection(
    'ARIA',
    'ARIA-FOVCrop-padding',
    find,
    dict(all=Split(143, crop='pad', folder='')),
    labels={
        'ann': Labels(task='vessel'),
        'ann-BSS': SECOND_OBSERVER
    },
    image_suffix='.tif',
    tree=('aria_{a,c,d}_markups/aria_a_1_1.tif',
          'aria_{a,c,d}_markup_vessel/aria_a_1_1_{BDP,BSS}.tif',
          'or images/aria_a_1_1.png, masks/aria_a_1_1_{BDP,BSS}.png'))
prepare = partial(run, COLLECTION)

if __name__ == '__main__':
    sys.exit(main(COLLECTION, prepare, __doc__))
