"""Vessel maps of IDRiD photographs, such as those of AVMapNet.

    python -m prepare_dataset.idrid_vessels RAW_IDRID RAW_VESSELS OUT

RAW_VESSELS holds ``IDRiD_02.png``, of the photographs' size, for any of them.
Writes ``IDRiD-FOVCrop-padding/{train,test}/vessel`` with the crop of the
photographs, which ``prepare_dataset.idrid`` prepares.
"""
from dataclasses import replace
from functools import partial
from pathlib import Path

from . import idrid
from .cli import main
from .description import Collection
from .driver import Summary, check_raw, run
from .labels import binary
from .layout import Found, Item, gather


def find(raw: Path, split: str, vessels: Path) -> Found | None:
    """Find the photographs of a split that have a vessel map."""
    found = Found(raw)
    images = gather(found, idrid.kind_of, split).get('images')
    if not images:
        return None
    # with the same lists of problems
    below = replace(found, folder=vessels)
    maps = gather(
        below, lambda path, folders:
        ('vessel', path.stem.replace('_vessel', '')))
    vessel = maps.get('vessel', {})
    found.items = [
        Item(stem, image, dict(vessel=partial(binary, vessel[stem])))
        for stem, image in images.items() if stem in vessel
    ]
    return found


def collection(vessels: Path) -> Collection:
    """Describe the maps of one folder."""
    return Collection(
        'IDRiD vessels',
        idrid.FOLDER,
        partial(find, vessels=vessels),
        idrid.COLLECTION.splits,
        labels=dict(vessel=idrid.COLLECTION.labels['vessel']),
        with_images=False)


def prepare(raw, raw_vessels, out, **options) -> Summary:
    """Prepare the vessel maps; options and result as ``driver.run``."""
    vessels = Path(raw_vessels)
    check_raw(vessels, 'the vessel maps')
    return run(collection(vessels), raw, out, **options)


if __name__ == '__main__':
    main(collection(Path()), __doc__, prepare, ('raw_idrid', 'raw_vessels'))
