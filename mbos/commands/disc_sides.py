"""Write on which side of each image the optic disc lies, for DiscSideFlip.

``mbos disc-sides SIDE_FILE FOLDER [FOLDER ...]``

Each FOLDER holds label maps with the disc, one per image, of the image's stem:
prepared ones (REFUGE's ``train/ann``, IDRiD's ``train/OD``) or predicted ones
(``train/ddr_ODOC_pseudo``). Of a stem that occurs twice the first folder
counts. Only the largest connected part counts as the disc, because predicted
maps have specks. Label maps without a disc are named, and get the side of
``--without``, or no line.
"""
import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from mbos.datasets import find_disc_side, write_disc_sides
from mbos.datasets.pipelines.disc_side import SIDES
from mbos.io.labels import read_labels
from mbos.tasks import IGNORE_INDEX

CUP = 2


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('side_file', help='text file to write')
    parser.add_argument('folders', nargs='+', help='folders of label maps')
    parser.add_argument(
        '--without',
        choices=SIDES,
        metavar='SIDE',
        help='side of label maps without a disc, left or right')
    return parser.parse_args(argv)


def list_label_maps(folders: Sequence[str]) -> dict[str, Path]:
    """Label maps by stem; of two of one stem that of the earlier folder
    counts.

    Raises:
        ValueError: If a folder is missing or holds no label map.
    """
    maps: dict[str, Path] = {}
    for folder in folders:
        found = sorted(Path(folder).glob('[!.]*.png'))
        if not found:
            raise ValueError(f'{folder}: no label map *.png found; give the '
                             'folder of prepared or predicted disc labels.')
        for path in found:
            maps.setdefault(path.stem, path)
    return dict(sorted(maps.items()))


def side_of(path: Path) -> str | None:
    """Side of the disc in a label map, None without a disc.

    Raises:
        ValueError: If it cannot be read or is a black-and-white picture.
    """
    labels = read_labels(str(path))
    values = np.unique(labels)
    if values.tolist() == [0, IGNORE_INDEX]:
        raise ValueError(f'{path}: holds the values 0 and 255 only, and 255 '
                         'is ignored; expected 1 for the disc. Prepare the '
                         'masks with python -m prepare_dataset.<collection>.')
    if values[values != IGNORE_INDEX].max(initial=0) > CUP:
        raise ValueError(f'{path}: expected 1 for the disc and 2 for the cup, '
                         f'found {", ".join(map(str, values[:8]))}; give a '
                         'folder of disc labels, not of lesions.')
    disc = ((labels > 0) & (labels != IGNORE_INDEX)).astype(np.uint8)
    _, parts, stats, _ = cv2.connectedComponentsWithStats(disc)
    if len(stats) == 1:
        return None
    largest = 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())
    return find_disc_side((parts == largest).astype(np.uint8))


def main(argv: Sequence[str] | None = None) -> int:
    """Write the file; returns 1 if something is wrong or images are left
    without a line."""
    args = parse_args(argv)
    try:
        found = {
            path: side_of(path)
            for path in list_label_maps(args.folders).values()
        }
    except (OSError, ValueError) as error:
        print(f'ERROR {error}', file=sys.stderr)
        return 1
    without = [path for path, side in found.items() if side is None]
    sides = {path.stem: side or args.without for path, side in found.items()}
    sides = {stem: side for stem, side in sides.items() if side}
    write_disc_sides(sides, args.side_file)
    for path in without:
        print(f'{path}: no disc' +
              (f', taken as {args.without}' if args.without else
               '; no line is written, add one by hand or use --without'))
    counts = [f'{list(sides.values()).count(s)} {s}' for s in SIDES]
    print(f'{args.side_file}: {", ".join(counts)}')
    return int(bool(without) and args.without is None)
