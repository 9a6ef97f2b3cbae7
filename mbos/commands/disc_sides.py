"""Write on which side of each image the optic disc lies, for DiscSideFlip.

``mbos disc-sides SIDE_FILE FOLDER [FOLDER ...]``

Each FOLDER holds label maps with the disc, one per image, of the image's stem:
prepared ones (REFUGE's ``train/ann``, IDRiD's ``train/OD``) or predicted ones
(``train/ddr_ODOC_pseudo``). Of a stem that occurs twice the first folder
counts. Only the largest connected part counts as the disc, because predicted
maps have specks. Label maps without a disc are named, and get the side of
``--without``, or no line.
"""
from pathlib import Path

import cv2
import numpy as np

from mbos.datasets import find_disc_side, write_disc_sides
from mbos.datasets.pipelines.disc_side import SIDES
from mbos.io.labels import read_labels
from mbos.tasks import IGNORE_INDEX, ODOC
from .options import make_parser

ARGUMENTS = [
    ('side_file', 'text file to write', {}),
    ('folders', 'folders of label maps', dict(nargs='+')),
    ('--without', 'side of label maps without a disc, left or right',
     dict(choices=SIDES, metavar='SIDE')),
]


def side_of(path: Path) -> str | None:
    """Side of the disc in a label map, None without a disc.

    Raises:
        ValueError: If it cannot be read or is no map of the disc.
    """
    labels = read_labels(str(path))
    values = np.unique(labels)
    if values.tolist() == [
            0, IGNORE_INDEX
    ] or values[values != IGNORE_INDEX].max(initial=0) > ODOC.num_classes:
        raise ValueError(
            f'{path}: expected 1 for the disc and 2 for the cup (255 is '
            f'ignored), found {", ".join(map(str, values[:8]))}; give a '
            'folder of disc labels, prepared with prepare_dataset.')
    disc = ((labels > 0) & (labels != IGNORE_INDEX)).astype(np.uint8)
    _, parts, stats, _ = cv2.connectedComponentsWithStats(disc)
    if len(stats) == 1:
        return None
    largest = 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())
    return find_disc_side((parts == largest).astype(np.uint8))


def main() -> int:
    """Write the file; returns 1 if images are left without a line."""
    args = make_parser(__doc__, ARGUMENTS).parse_args()
    maps: dict[str, Path] = {}
    for folder in map(Path, args.folders):
        found = sorted(folder.glob('[!.]*.png'))
        if not found:
            raise ValueError(f'{folder}: no label map *.png found; give the '
                             'folder of prepared or predicted disc labels.')
        maps = {path.stem: path for path in found} | maps
    sides = {stem: side_of(path) for stem, path in sorted(maps.items())}
    lines = {stem: side or args.without for stem, side in sides.items()}
    lines = {stem: side for stem, side in lines.items() if side}
    write_disc_sides(lines, args.side_file)
    without = [maps[stem] for stem, side in sides.items() if side is None]
    for path in without:
        print(f'{path}: no disc' +
              (f', taken as {args.without}' if args.without else
               '; no line is written, add one by hand or use --without'))
    counts = [f'{list(lines.values()).count(side)} {side}' for side in SIDES]
    print(f'{args.side_file}: {", ".join(counts)}')
    return int(bool(without) and args.without is None)
