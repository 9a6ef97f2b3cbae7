"""What the quickstart does with data beyond preparing collections.

``python -m quickstart.data synthetic COLLECTIONS DATA`` brings the truth
that the generated collections leave out into the prepared folders.
``python -m quickstart.data real DATA`` gathers the IDRiD photographs
with vessel maps and disc masks, none of which training sees.
"""
import os
import shutil
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from mbos.io import RefusedError
from mbos.io.labels import save_labels
from mbos.tasks import BUILTIN_TASKS
from prepare_dataset import drishti_gs, drive, idrid
from prepare_dataset.files import read_geometry

IDRID = 'IDRiD-FOVCrop-padding'
HIDDEN = 'hidden'
# Prepared folder and own labels of each generated collection.
SYNTHETIC = dict(
    RETA=('RETA', 'vessel'),
    DDR=('DDR-FOVCrop-padding', 'lesion'),
    REFUGE=('REFUGE-FOVCrop-padding', 'odoc'),
    DRIVE=('DRIVE-FOVCrop-padding', 'vessel'),
    IDRiD=(IDRID, 'lesion'))
REAL = dict(drive=drive, idrid=idrid, drishti=drishti_gs)
OWNERS_NAMES = dict(drive='DRIVE', idrid='IDRiD', drishti='Drishti-GS')
VESSELS = 'idrid_vessels'


class Found(NamedTuple):
    """A raw collection: its folder and its number of photographs."""

    folder: Path
    images: int


def write_hidden_truth(collections: Path, data: Path) -> dict[str, int]:
    """Prepare the truth that generated collections leave out: number of label
    maps by folder written, ``<collection>/<split>/hidden/<task>``.
    """
    counts = {}
    for name, (folder, own) in SYNTHETIC.items():
        for source in sorted((collections / HIDDEN / name).glob('*/*')):
            split, task = source.parts[-2:]
            rows = read_geometry(data / folder / split / 'geometry.csv')
            if task == own or not rows:
                continue
            target = data / folder / split / HIDDEN / task
            for stem, geometry in rows.items():
                plane = np.asarray(Image.open(source / f'{stem}.png'))
                save_labels(target / f'{stem}.png',
                            geometry.apply(plane, is_label=True),
                            BUILTIN_TASKS[task])
            counts[str(target.relative_to(data))] = len(rows)
    return counts


def gather_hidden(data: Path) -> int:
    """Put the IDRiD photographs with a vessel map and a disc mask together."""
    root = data / IDRID
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
    return count


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
    children = sorted(p for p in folder.iterdir() if p.is_dir())
    found = {}
    for key, module in REAL.items():
        candidates = [
            Found(child, count_photographs(module, child))
            for child in children if child.name.lower().startswith(key)
            and 'vessel' not in child.name.lower()
        ]
        best = max(candidates, key=lambda c: c.images, default=None)
        if best is None or best.images == 0:
            name = OWNERS_NAMES[key]
            raise RefusedError(
                f'{best.folder if best else folder}: no photographs of {name} '
                f'as it is published; unpack {name} there '
                '(docs/collections.md says where it is published).')
        found[key] = best
    for child in children:
        maps = [p for p in child.iterdir() if p.suffix.lower() == '.png']
        if child.name.lower().startswith(VESSELS) and maps:
            found[VESSELS] = Found(child, len(maps))
    return found


def count_photographs(module, raw: Path) -> int:
    """Number of labelled photographs in a raw collection, 0 if it is none."""
    try:
        splits = [
            module.COLLECTION.find(raw, s) for s in module.COLLECTION.splits
        ]
    except RefusedError:
        return 0
    return sum(len(split.items) for split in splits if split is not None)


def main(arguments: list[str]) -> int:
    """Run one of the two commands."""
    if len(arguments) == 3 and arguments[0] == 'synthetic':
        counts = write_hidden_truth(Path(arguments[1]), Path(arguments[2]))
        for name, count in counts.items():
            print(f'{name}: {count} label maps')
        return 0 if counts else 1
    if len(arguments) == 2 and arguments[0] == 'real':
        count = gather_hidden(Path(arguments[1]))
        print(f'{IDRID}/{HIDDEN}: {count} photographs with vessel map and '
              'disc mask')
        return 0
    print(__doc__, file=sys.stderr)
    return 2


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
