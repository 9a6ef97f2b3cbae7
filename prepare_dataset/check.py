"""Check prepared collections before training.

    python -m prepare_dataset.check OUT [--sheet]

OUT is the folder of all prepared collections or one of them, made by these
commands or by the published release. Checks counts, pairs of images and
labels, sizes, label values, empty labels, geometry.csv where it is there, and
photographs that occur in a training split and in another one; prints a table
with the pixels' shares of each label value. ``--sheet`` draws
``OUT/sheets/<collection>.jpg``, photographs beside their labels.
"""
import argparse
import sys
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Dict, Iterator, List, Optional, Tuple

import numpy as np
from PIL import Image
from tqdm import tqdm

from . import aria, ddr, drishti_gs, drive, idrid, refuge, reta, stare
from .driver import Collection
from .errors import PrepareError
from .files import read_geometry
from .fov import find_field_of_view
from .labels import Size, open_image
from .sheet import write_sheet

COLLECTIONS = tuple(
    module.COLLECTION
    for module in (reta, ddr, refuge, drive, stare, aria, idrid, drishti_gs))
BINARY_FOLDERS = ('OD', 'vessel', 'fov')
LABEL_FOLDERS = ('ann', 'ann-2nd', 'ann-vk', 'ann-BSS', *BINARY_FOLDERS)
MUST_NOT_BE_EMPTY = ('ann', *BINARY_FOLDERS)
PREVIEW = 768
"""Side of the copy in which the retina is found, to make a thumbnail of it."""
THUMBNAIL = (32, 32)
SAME = 2.5
"""Mean difference in grey values below which two thumbnails are one eye: at
most 1.0 between copies of IDRiD's photographs of other sizes, at least 5.0
between 63 eyes of DRIVE, IDRiD, Drishti-GS and STARE."""


@dataclass
class SplitReport:
    """What was found in one split.

    Args:
        name (str): Collection and split.
        expected (int): Number of photographs in the owner's release.
        training (bool): Whether it is a training split.
        images (dict[str, Path]): Photographs by stem.
        labels (dict[str, int]): Number of masks by folder.
        pixels (dict[str, np.ndarray]): Pixels of each value by folder.
        empty (dict[str, int]): Number of masks without foreground.
        sizes (dict[str, tuple]): Width and height of the photographs.
        thumbnails (dict[str, np.ndarray]): Small grey copies.
        problems (list[str]): What is wrong, file by file.
    """
    name: str
    expected: int
    training: bool
    images: Dict[str, Path] = field(default_factory=dict)
    labels: Dict[str, int] = field(default_factory=dict)
    pixels: Dict[str, np.ndarray] = field(default_factory=dict)
    empty: Dict[str, int] = field(default_factory=lambda: defaultdict(int))
    sizes: Dict[str, Size] = field(default_factory=dict)
    thumbnails: Dict[str, np.ndarray] = field(default_factory=dict)
    problems: List[str] = field(default_factory=list)

    def lines(self) -> Iterator[str]:
        """The rows of the table."""
        yield (f'{self.name}: {len(self.images)} images, {self.expected} '
               f'expected, {len(self.problems)} problems')
        if len(self.images) < self.expected:
            yield '  note: this is a part of what the owner publishes'
        if self.sizes:
            sizes = sorted(set(self.sizes.values()))
            shown = [f'{width}x{height}' for width, height in sizes]
            yield '  images   ' + (
                ', '.join(shown) if len(shown) < 4 else
                f'{shown[0]} to {shown[-1]}, {len(shown)} sizes')
        oblong = [s for s, (w, h) in self.sizes.items() if w != h]
        if oblong:
            yield (f'  note: {len(oblong)} images are not square, such as '
                   f'{oblong[0]}; the published preparation pads to squares')
        for folder, count in self.labels.items():
            pixels = self.pixels.get(folder)
            if pixels is None:
                continue
            shares = ', '.join(f'{value}: {100 * n / pixels.sum():.3f} %'
                               for value, n in enumerate(pixels) if n)
            yield (f'  {folder:8} {count} masks, {self.empty[folder]} without '
                   f'foreground; pixels {shares}')


def check_split(folder: Path, collection: Collection, split: str,
                workers: int) -> Optional[SplitReport]:
    """Check one split of a prepared collection; None if it is not there."""
    described = collection.splits[split]
    base = folder / (split if described.folder is None else described.folder)
    if not (base / 'images').is_dir():
        return None
    report = SplitReport(f'{folder.name} {split}', described.expected,
                         split == 'train')
    paths = sorted(
        p for p in (base / 'images').iterdir() if not p.name.startswith('.'))
    report.images = {path.stem: path for path in paths}
    if not paths:
        report.problems.append(f'{base / "images"}: is empty; prepare it.')
    suffixes = {p.suffix for p in paths} - {collection.image_suffix}
    if suffixes:
        report.problems.append(
            f'{base / "images"}: found {", ".join(sorted(suffixes))}, the '
            f'configs read {collection.image_suffix}; set img_suffix there.')
    for name in LABEL_FOLDERS:
        masks = sorted((base / name).glob('[!.]*.png'))
        if masks or name == 'ann':
            report.labels[name] = len(masks)
            _check_pairs(report, base / name, {p.stem for p in masks})
    check = partial(_check_photograph, collection, tuple(report.labels))
    with ThreadPoolExecutor(max(1, workers)) as pool:
        bar = tqdm(
            pool.map(check, paths), report.name, len(paths), disable=None)
        for path, (size, thumbnail, counts, problems) in zip(paths, bar):
            report.problems += problems
            if thumbnail is not None:
                report.sizes[path.stem] = size
                report.thumbnails[path.stem] = thumbnail
            for name, pixels in counts.items():
                report.pixels[name] = report.pixels.get(name, 0) + pixels
                report.empty[name] += int(not _foreground(pixels))
    _check_geometry(report, base / 'geometry.csv')
    report.problems.sort()
    return report


def _check_pairs(report: SplitReport, folder: Path, masks: set) -> None:
    images = set(report.images)
    # The maps of idrid_vessels cover some photographs only.
    missing = set() if folder.name == 'vessel' else images - masks
    report.problems += [
        f'{folder / stem}.png: is missing, its photograph is there; prepare '
        'the collection again.' for stem in missing
    ]
    report.problems += [
        f'{folder / stem}.png: has no photograph; remove it, or prepare the '
        'collection again.' for stem in masks - images
    ]


def _check_photograph(collection: Collection, folders: Tuple[str, ...],
                      path: Path) -> tuple:
    """Size, thumbnail, pixels of each value by folder, and problems."""
    counts, problems = {}, []
    try:
        image = open_image(path).convert('RGB')
    except PrepareError as error:
        return None, None, counts, [str(error)]
    for name in folders:
        mask = path.parents[1] / name / f'{path.stem}.png'
        largest = 1 if name in BINARY_FOLDERS else collection.classes
        try:
            if mask.exists():
                counts[name] = _count_values(mask, largest, image.size)
                _check_foreground(mask, counts[name], collection)
        except PrepareError as error:
            problems.append(str(error))
    return image.size, _thumbnail(image), counts, problems


def _thumbnail(image: Image.Image) -> np.ndarray:
    """A small grey copy of the retina, whatever margin the image has."""
    small = image.copy()
    small.thumbnail((PREVIEW, PREVIEW), Image.Resampling.BOX)
    x, y, width, height = find_field_of_view(np.array(small)).box
    retina = small.convert('L').crop((x, y, x + width, y + height))
    return np.array(retina.resize(THUMBNAIL, Image.Resampling.BOX), np.float32)


def _foreground(pixels: np.ndarray) -> int:
    """Number of pixels of any structure; 255 is ignored."""
    return int(pixels[1:255].sum())


def _check_foreground(path: Path, pixels: np.ndarray,
                      collection: Collection) -> None:
    """Every eye has vessels and a disc, but not every one lesions."""
    if path.parent.name == 'ann' and collection.may_be_empty:
        return
    # A second observer, or a map of one's own, is not trained on.
    if path.parent.name in MUST_NOT_BE_EMPTY and not _foreground(pixels):
        raise PrepareError(f'{path}: is empty, while every eye has what this '
                           'mask should show; look at the raw mask.')


def _check_geometry(report: SplitReport, path: Path) -> None:
    """Compare geometry.csv, which the release's trees do not have."""
    try:
        rows = read_geometry(path)
    except PrepareError as error:
        report.problems.append(str(error))
        return
    for stem, size in report.sizes.items() if rows else ():
        row = rows.get(stem)
        prepared = row and (row.prepared_width, row.prepared_height)
        if prepared != size:
            told = 'no line' if row is None else f'{prepared[0]}x{prepared[1]}'
            report.problems.append(
                f'{path}: has {told} for {report.images[stem]} of '
                f'{size[0]}x{size[1]}, so that predictions could not be put '
                'back; prepare the collection again with --force.')


def _count_values(path: Path, largest: int, size: Size) -> np.ndarray:
    """Count the pixels of each value 0 to 255 of a mask."""
    image = open_image(path)
    if image.mode not in ('P', 'L', '1'):
        raise PrepareError(f'{path}: is a picture of mode {image.mode} '
                           'instead of label values; prepare it again.')
    if image.size != size:
        raise PrepareError(
            f'{path}: is {image.size[0]}x{image.size[1]}, its photograph '
            f'{size[0]}x{size[1]}; prepare it again.')
    values = np.array(image, np.uint8)
    counts = np.bincount(values.ravel(), minlength=256)
    found = np.flatnonzero(counts)
    # 0 and 255 alone are a black-and-white mask, not ignored pixels.
    black_and_white = found.tolist() == [0, 255]
    if black_and_white or found[found != 255].max(initial=0) > largest:
        raise PrepareError(
            f'{path}: expected the values 0 to {largest}, found '
            f'{", ".join(map(str, found[:8]))}; prepare it again.')
    return counts


def find_duplicates(reports: List[SplitReport]) -> List[str]:
    """Photographs of training splits that occur in other splits, too."""
    training = [(report.images[stem], thumbnail) for report in reports
                if report.training
                for stem, thumbnail in report.thumbnails.items()]
    if not training:
        return []
    known = np.stack([thumbnail for _, thumbnail in training])
    problems = []
    for report in reports:
        for stem, thumbnail in report.thumbnails.items():
            if report.training:
                break
            distance = np.abs(known - thumbnail).mean(axis=(1, 2))
            closest = int(distance.argmin())
            if distance[closest] < SAME:
                problems.append(
                    f'{report.images[stem]}: shows the same as '
                    f'{training[closest][0]}, which is trained on; remove it '
                    'from one of the two.')
    return problems


def check(out, workers: int = 2, sheet: bool = False) -> List[SplitReport]:
    """Check a prepared tree or one collection.

    Args:
        out (str | Path): Folder of all collections, or of one.
        workers (int): Threads. Default: 2.
        sheet (bool): Whether to draw contact sheets. Default: False.

    Returns:
        list[SplitReport]: One report per split, and one for duplicates.

    Raises:
        PrepareError: If there is no prepared collection.
    """
    out = Path(out)
    reports = []
    for collection in COLLECTIONS:
        alone = out.resolve().name == collection.folder
        folder = out if alone else out / collection.folder
        found = [
            check_split(folder, collection, split, workers)
            for split in collection.splits
        ]
        found = [report for report in found if report is not None]
        reports += found
        if sheet and found:
            photographs = [list(report.images.values()) for report in found]
            write_sheet(out / 'sheets' / f'{collection.folder}.jpg',
                        photographs)
    if not reports:
        names = ', '.join(c.folder for c in COLLECTIONS)
        raise PrepareError(f'{out}: holds none of {names}; prepare a '
                           'collection first.')
    duplicates = find_duplicates(reports)
    if duplicates:
        reports.append(
            SplitReport(
                'training against other splits', 0, False,
                problems=duplicates))
    return reports


def main(argv=None) -> int:
    """Run the command; 1 if anything is wrong."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('out', metavar='OUT')
    parser.add_argument('--workers', type=int, default=2)
    parser.add_argument(
        '--sheet', action='store_true', help='draw contact sheets')
    args = parser.parse_args(argv)
    try:
        reports = check(**vars(args))
    except PrepareError as error:
        print(f'ERROR {error}', file=sys.stderr)
        return 1
    for report in reports:
        print('\n'.join(report.lines()))
    if args.sheet:
        print(f'Contact sheets: {Path(args.out) / "sheets"}')
    problems = [p for report in reports for p in report.problems]
    print('\n'.join(f'ERROR {problem}' for problem in problems)
          or 'Nothing wrong.')
    return 1 if problems else 0


if __name__ == '__main__':
    sys.exit(main())
