"""Vessel maps of IDRiD photographs, such as those of AVMapNet.

    python -m prepare_dataset.idrid_vessels RAW_IDRID RAW_VESSELS OUT

RAW_VESSELS holds ``IDRiD_02.png``, of the photographs' size, for any of them.
Writes ``IDRiD-FOVCrop-padding/{train,test}/vessel`` with the crop of the
photographs, which ``prepare_dataset.idrid`` prepares.
"""
import sys
from functools import partial
from pathlib import Path

from mbos.io import problems_of_links
from .cli import main
from .description import Collection, Labels, Split
from .driver import Summary, run
from .errors import PrepareError
from .idrid import FOLDER, RAW_FOLDERS
from .labels import binary
from .layout import Found, Item, find_tree, images_by_stem

LABELS = dict(vessel=Labels(optional=True, task='vessel'))


def find(raw: Path, split: str, vessels: Path) -> Found | None:
    """Find the photographs of a split that have a vessel map."""
    found = find_tree(raw, [f'1. Original Images/{RAW_FOLDERS[split]}'], {},
                      {})
    if found is None:
        return None
    maps = images_by_stem(
        vessels, found, key=lambda stem: stem.replace('_vessel', ''))
    found.items = [
        Item(stem, image, dict(vessel=partial(binary, maps[stem])))
        for stem, image in found.images.items() if stem in maps
    ]
    return found


def collection(vessels: Path) -> Collection:
    """Describe the maps of one folder."""
    return Collection(
        'IDRiD vessels',
        FOLDER,
        partial(find, vessels=vessels),
        dict(train=Split(54), test=Split(27)),
        labels=LABELS,
        with_images=False)


def prepare(raw, raw_vessels, out, **options) -> Summary:
    """Prepare the vessel maps; options and result as ``driver.run``."""
    if not Path(raw_vessels).is_dir():
        raise PrepareError(f'{raw_vessels}: there is no such folder; give the '
                           'folder that holds IDRiD_02.png and so on.')
    problems = problems_of_links(raw_vessels, recursive=True)
    if problems:
        raise PrepareError('\n'.join(problems))
    return run(collection(Path(raw_vessels)), raw, out, **options)


if __name__ == '__main__':
    sys.exit(
        main(
            collection(Path()), prepare, __doc__,
            ('raw_idrid', 'raw_vessels')))
