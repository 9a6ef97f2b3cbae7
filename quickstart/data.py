"""What the quickstart does with data beyond preparing collections.

``python -m quickstart.data DATA COLLECTIONS`` brings the truth that the
generated collections leave out into the prepared folders.
``python -m quickstart.data DATA`` gathers the IDRiD photographs with vessel
maps and disc masks, none of which training sees.
"""
import os
import shutil
import sys
from pathlib import Path
from typing import NamedTuple

from mbos.io import RefusedError
from mbos.io.labels import read_labels, save_labels
from mbos.tasks import BUILTIN_TASKS
from prepare_dataset import ddr, drishti_gs, drive, idrid, refuge, reta
from prepare_dataset.record import read_geometry

SYNTHETIC = (reta, ddr, refuge, drive, idrid)
REAL = (drive, idrid, drishti_gs)
HIDDEN = 'hidden'
VESSELS = 'IDRiD_vessels'


class Found(NamedTuple):
    """A raw collection: its folder and its number of photographs."""

    folder: Path
    images: int


def write_hidden_truth(data: Path, collections: Path) -> dict[str, int]:
    """Prepare the truth that generated collections leave out: number of label
    maps by folder written, ``<collection>/<split>/hidden/<task>``.
    """
    counts = {}
    for collection in (module.COLLECTION for module in SYNTHETIC):
        name = collection.name
        for source in sorted((collections / HIDDEN / name).glob('*/*')):
            split, task = source.parts[-2:]
            folder = data / collection.folder / split
            rows = read_geometry(folder)
            if task == collection.labels['ann'].task or not rows:
                continue
            for stem, geometry in rows.items():
                plane = read_labels(str(source / f'{stem}.png'))
                save_labels(folder / HIDDEN / task / f'{stem}.png',
                            geometry.apply(plane, is_label=True),
                            BUILTIN_TASKS[task])
            counts[f'{collection.folder}/{split}/{HIDDEN}/{task}'] = len(rows)
    return counts


def gather_hidden(data: Path) -> dict[str, int]:
    """Put the IDRiD photographs with a vessel map and a disc mask together:
    their number by folder written.
    """
    root = data / idrid.COLLECTION.folder
    shutil.rmtree(root / HIDDEN, ignore_errors=True)
    count = 0
    for vessel in sorted(root.glob('*/vessel/*.png')):
        split, name = vessel.parents[1], vessel.name
        photographs = list((split / 'images').glob(vessel.stem + '.*'))
        if not (split / 'OD' / name).is_file() or not photographs:
            continue
        for source in (vessel, split / 'OD' / name, split / 'fov' / name,
                       photographs[0]):
            target = root / HIDDEN / source.parent.name / source.name
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.exists():
                _link(source, target)
        count += 1
    return {f'{root.name}/{HIDDEN}': count}


def _link(source: Path, target: Path) -> None:
    """Link a file, or copy it where links are not possible."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def find_collections(folder: Path) -> dict[str, Found]:
    """Find DRIVE, IDRiD, Drishti-GS and perhaps ``IDRiD_vessels_*`` in a
    folder; the larger one of two copies. Case and what follows the names do
    not matter.

    Raises:
        RefusedError: If one of the three is missing or empty.
    """
    if not folder.is_dir():
        raise RefusedError(f'{folder}: there is no such folder; give the one '
                           'that holds DRIVE, IDRiD and Drishti-GS.')
    children = {
        path: path.name.lower()
        for path in sorted(folder.iterdir()) if path.is_dir()
    }
    found = {}
    for module in REAL:
        name = module.COLLECTION.name
        best = max(
            (Found(child, count_photographs(module, child))
             for child, called in children.items()
             if called.startswith(name.lower()) and 'vessel' not in called),
            key=lambda copy: copy.images,
            default=Found(folder, 0))
        if not best.images:
            raise RefusedError(
                f'{best.folder}: no photographs of {name} as it is published; '
                f'unpack {name} there (docs/collections.md says where it is '
                'published).')
        found[name] = best
    for child, called in children.items():
        maps = [p for p in child.iterdir() if p.suffix.lower() == '.png']
        if called.startswith(VESSELS.lower()) and maps:
            found[VESSELS] = Found(child, len(maps))
    return found


def count_photographs(module, raw: Path) -> int:
    """Number of labelled photographs in a raw collection, 0 if it is none."""
    collection = module.COLLECTION
    try:
        splits = [collection.find(raw, split) for split in collection.splits]
    except RefusedError:
        return 0
    return sum(len(split.items) for split in splits if split is not None)


if __name__ == '__main__':
    folders = [Path(argument) for argument in sys.argv[1:]]
    written = (write_hidden_truth if len(folders) > 1 else gather_hidden)(
        *folders)
    for place, images in written.items():
        print(f'{place}: {images} photographs')
    sys.exit(0 if written else 1)
