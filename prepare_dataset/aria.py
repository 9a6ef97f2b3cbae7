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
from functools import partial
from pathlib import Path

from .cli import main
from .description import SECOND_OBSERVER, Collection, Labels, Split
from .driver import run
from .labels import soft_binary
from .layout import Found, Item, images_by_stem, locate, orphans
from .mirrors import files_by_name

GROUPS = ('a', 'c', 'd')
OBSERVERS = ('BDP', 'BSS')


def clean(stem: str) -> str:
    """Name of a photograph or vessel map without spaces and prefix."""
    return re.sub(r'^\(\d+\)|\s+', '', stem.strip())


def _observed(observer: str, stem: str) -> str | None:
    """The photograph of an observer's vessel map, None of other files."""
    name = clean(stem)
    ending = f'_{observer}'
    return name[:-len(ending)] if name.upper().endswith(ending) else None


def find(raw: Path, split: str) -> Found | None:
    """Find the photographs and the vessel maps of both observers."""
    found = Found(folder=raw)
    images: dict[str, Path] = {}
    maps: dict[str, dict[str, Path]] = {name: {} for name in OBSERVERS}
    folders = {
        group: (locate(raw, f'aria_{group}_markups'),
                locate(raw, f'aria_{group}_markup_vessel'))
        for group in GROUPS
    }
    if not any(folder for pair in folders.values() for folder in pair):
        return _find_by_names(raw)
    for group, (folder, vessels) in folders.items():
        if folder is None or vessels is None:
            found.problems.append(
                f'{raw}: aria_{group}_markups or aria_{group}_markup_vessel '
                'is missing; unpack its archive.')
            continue
        images.update(images_by_stem(folder, found, key=clean))
        for observer, files in maps.items():
            key = partial(_observed, observer)
            files.update(images_by_stem(vessels, found, key=key))
    if not images:
        return None
    return _pair(found, images, maps)


def _find_by_names(raw: Path) -> Found | None:
    """Find photographs and vessel maps in copies of any tree."""
    found = Found(folder=raw)
    maps = {
        observer: images_by_stem(raw, found, key=partial(_observed, observer))
        for observer in OBSERVERS
    }

    def others(stem):
        is_map = any(_observed(name, stem) for name in OBSERVERS)
        return None if is_map else clean(stem)

    images, named_alike = files_by_name(raw, found, others)
    if not images or not (maps['BDP'] or named_alike):
        return None
    maps['BDP'] = {**named_alike, **maps['BDP']}
    return _pair(found, images, maps)


def _pair(found: Found, images: dict[str, Path],
          maps: dict[str, dict[str, Path]]) -> Found:
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
