"""ARIA: vessels, 143 photographs, 768x576, without splits.

    python -m prepare_dataset.aria RAW OUT

RAW holds ``aria_{a,c,d}_markups/*.tif`` (AMD, control, diabetic) and vessel
maps of two observers, ``aria_{a,c,d}_markup_vessel/*_{BDP,BSS}.tif``, which go
to ``ann`` and ``ann-BSS``. Spaces and prefixes such as ``(0001)`` are dropped
from the names. The photographs are only padded, as published.
"""
import re
import sys
from functools import partial
from pathlib import Path
from typing import Dict, Optional

from .cli import main
from .description import SECOND_OBSERVER, Collection, Labels, Split
from .driver import run
from .labels import soft_binary
from .layout import Found, Item, images_by_stem, locate, orphans

GROUPS = ('a', 'c', 'd')


def clean(stem: str) -> str:
    """Name of a photograph or vessel map without spaces and prefix."""
    return re.sub(r'^\(\d+\)|\s+', '', stem.strip())


def find(raw: Path, split: str) -> Optional[Found]:
    """Find the photographs and the vessel maps of both observers."""
    found = Found(folder=raw)
    images: Dict[str, Path] = {}
    maps: Dict[str, Dict[str, Path]] = dict(BDP={}, BSS={})

    def observed(observer, stem):
        name = clean(stem)
        ending = f'_{observer}'
        return name[:-len(ending)] if name.endswith(ending) else None

    for group in GROUPS:
        folder = locate(raw, f'aria_{group}_markups')
        vessels = locate(raw, f'aria_{group}_markup_vessel')
        if folder is None or vessels is None:
            found.problems.append(
                f'{raw}: aria_{group}_markups or aria_{group}_markup_vessel '
                'is missing; unpack its archive.')
            continue
        images.update(images_by_stem(folder, found, key=clean))
        for observer, files in maps.items():
            key = partial(observed, observer)
            files.update(images_by_stem(vessels, found, key=key))
    if not images:
        return None
    for files in maps.values():
        orphans(found, files, images)
    for stem, image in images.items():
        if stem not in maps['BDP']:
            found.problems.append(f'{image}: its vessel map {stem}_BDP.tif is '
                                  'missing; unpack it again.')
            continue
        labels = dict(ann=partial(soft_binary, maps['BDP'][stem]))
        if stem in maps['BSS']:
            labels['ann-BSS'] = partial(soft_binary, maps['BSS'][stem])
        found.items.append(Item(stem, image, labels))
    return found


COLLECTION = Collection(
    'ARIA',
    'ARIA-FOVCrop-padding',
    find,
    dict(all=Split(143, crop='pad', folder='')),
    labels={
        'ann': Labels(),
        'ann-BSS': SECOND_OBSERVER
    },
    image_suffix='.tif')
prepare = partial(run, COLLECTION)

if __name__ == '__main__':
    sys.exit(main(COLLECTION, prepare, __doc__))
