"""Check prepared collections before training.

    python -m prepare_dataset.check OUT [--sheet]

OUT is the folder of all prepared collections or one of them, made by these
commands or by the published release. Checks counts, pairs of images and
labels, sizes, label values, empty labels, and photographs that occur in a
training split and in another one; prints a table with the pixels' shares of
each label value. ``--sheet`` draws ``OUT/sheets/<collection>.jpg``,
photographs beside their labels.
"""
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from mbos.io import RefusedError
from mbos.io.field_of_view import find_field_of_view
from mbos.io.labels import read_labels
from mbos.io.photographs import Layout
from mbos.io.untrusted import sentence_of
from . import aria, ddr, drishti_gs, drive, idrid, refuge, reta, stare
from .cli import make_parser
from .description import Collection, Labels
from .labels import open_photograph
from .record import FILE, Record, labels_of, read_records
from .sheet import write_sheet

COLLECTIONS = tuple(
    module.COLLECTION
    for module in (reta, ddr, refuge, drive, stare, aria, idrid, drishti_gs))
AGAIN = 'prepare the collection again'
PREVIEW = 768
"""Side of the copy in which the retina is found, to make a thumbnail of it."""
THUMBNAIL = (32, 32)
SAME = 2.5
"""Mean difference in grey values below which two thumbnails are one eye: at
most 1.0 between copies of IDRiD's photographs of other sizes, at least 5.0
between 63 eyes of DRIVE, IDRiD, Drishti-GS and STARE."""


@dataclass
class SplitReport:
    """What was found in one split, by stem or by label folder: numbers of
    masks, of those without foreground, and pixels of each value.
    """
    name: str
    expected: int = 0
    training: bool = False
    images: dict[str, Path] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    labels: dict[str, int] = field(default_factory=dict)
    pixels: Counter = field(default_factory=Counter)
    empty: Counter = field(default_factory=Counter)
    sizes: dict[str, tuple[int, int]] = field(default_factory=dict)
    thumbnails: dict[str, np.ndarray] = field(default_factory=dict)

    def lines(self) -> Iterator[str]:
        """The rows of the table."""
        yield (f'{self.name}: {len(self.images)} images, {self.expected} '
               f'expected, {len(self.problems)} problems')
        yield from (f'  note: {note}' for note in self.notes)
        shown = [f'{w}x{h}' for w, h in sorted(set(self.sizes.values()))]
        if len(shown) > 3:
            shown = [f'{shown[0]} to {shown[-1]}', f'{len(shown)} sizes']
        if shown:
            yield f'  images   {", ".join(shown)}'
        oblong = [s for s, (w, h) in self.sizes.items() if w != h]
        if oblong:
            yield (f'  note: {len(oblong)} images are not square, such as '
                   f'{oblong[0]}; the published preparation pads to squares')
        for folder, pixels in self.pixels.items():
            shares = ', '.join(f'{value}: {100 * n / pixels.sum():.3f} %'
                               for value, n in enumerate(pixels) if n)
            yield (f'  {folder:8} {self.labels[folder]} masks, '
                   f'{self.empty[folder]} without foreground; pixels {shares}')


def check_split(folder: Path, collection: Collection, split: str, workers: int,
                records: Mapping[str, Record]) -> SplitReport | None:
    """Check one split of a prepared collection; None if it is not there."""
    base = folder / collection.split_folder(split)
    records = {k: r for k, r in records.items() if split in r.splits}
    recorded = [record.splits[split] for record in records.values()]
    if not (base / 'images').is_dir() and not recorded:
        return None
    images = {p.stem: p for p in sorted((base / 'images').glob('[!.]*'))}
    report = SplitReport(
        f'{folder.name} {split}',
        collection.splits[split].expected,
        split == 'train',
        images,
        # What the preparation could not do is not complete here either.
        [problem for r in recorded for problem in r.problems])
    if not images and not report.problems:
        report.problems.append(f'{base / "images"}: is empty; prepare it.')
    suffixes = {p.suffix for p in images.values()} - {collection.image_suffix}
    if suffixes:
        report.problems.append(
            f'{base / "images"}: found {", ".join(sorted(suffixes))}, the '
            f'configs read {collection.image_suffix}; set img_suffix there.')
    prepared = set().union(*(r.photographs for r in recorded))
    report.problems += [
        f'{base / "images" / stem}{collection.image_suffix}: is missing, '
        f'although it was prepared; {AGAIN}.'
        for stem in prepared - images.keys()
    ]
    labels = _check_masks(report, base, collection, split, records)
    check = partial(_check_photograph, labels)
    with ThreadPoolExecutor(max(1, workers)) as pool:
        found = pool.map(check, images.values())
        bar = tqdm(found, report.name, len(images), disable=None)
        for stem, (size, small, counts, problems) in zip(images, bar):
            report.problems += problems
            if small is not None:
                report.sizes[stem], report.thumbnails[stem] = size, small
            for name, pixels in counts.items():
                report.pixels[name] = report.pixels[name] + pixels
                report.empty[name] += not pixels[1:255].any()
    report.problems.sort()
    return report


def _check_masks(report: SplitReport, base: Path, collection: Collection,
                 split: str, records: Mapping[str, Record]) -> dict:
    """Compare masks and photographs; the label folders that there are.

    The record says which photographs must have a mask. Without one all have
    those that are not optional, unless the owner publishes none of a split;
    fields of view are there for all, or for none.
    """
    kinds, there = labels_of(collection, records), set(report.images)
    unlabelled, labels = set(there), {}
    for name, kind in kinds.items():
        masks = {p.stem for p in (base / name).glob('[!.]*.png')}
        recorded = [r for r in records.values() if name in r.labels]
        may_lack = kind.optional or collection.splits[split].may_lack_labels
        if recorded:
            expected = set().union(*(r.splits[split].with_label(name)
                                     for r in recorded))
        elif (base / name).is_dir():
            expected = there if name == 'fov' or not kind.optional else set()
        else:
            expected = set() if may_lack else there
        if name != 'fov':
            unlabelled -= expected
        if masks or expected:
            labels[name] = kind
            report.labels[name] = len(masks)
        report.problems += [
            f'{base / name / stem}.png: is missing, its photograph is there; '
            f'{AGAIN}.' for stem in (expected & there) - masks
        ] + [
            f'{base / name / stem}.png: has no photograph; remove it, or '
            f'{AGAIN}.' for stem in masks - there
        ]
    if unlabelled and len(kinds) > 1:
        report.notes.append(f'{len(unlabelled)} photographs have no labels, '
                            'so that they cannot be scored or trained on')
    return labels


def _check_photograph(labels: Mapping[str, Labels], path: Path) -> tuple:
    """The size of a photograph and its thumbnail, pixels of each value by
    label folder, and problems.
    """
    counts, problems = {}, []
    try:
        photograph = open_photograph(path)
        image = Image.fromarray(photograph.read().image)
    except RefusedError as error:
        return None, None, counts, [str(error)]
    for name, kind in labels.items():
        mask = path.parents[1] / name / f'{path.stem}.png'
        if not mask.exists():
            continue
        try:
            counts[name] = _count_values(mask, kind.largest, photograph.layout)
        except ValueError as error:
            problems.append(str(error))
            continue
        # Every eye has vessels and a disc, but not every one lesions.
        if not (kind.may_be_empty or counts[name][1:255].any()):
            problems.append(f'{mask}: is empty, while every eye has what this '
                            'mask should show; look at the raw mask.')
    return image.size, thumbnail(image), counts, problems


def _count_values(path: Path, largest: int, layout: Layout) -> np.ndarray:
    """Count the pixels of each value 0 to 255 of a mask."""
    labels = read_labels(str(path))
    if labels.shape not in (layout.shape, layout.stored):
        sizes = [f'{s[1]}x{s[0]}' for s in (labels.shape, layout.shape)]
        raise RefusedError(f'{path}: is {sizes[0]}, its photograph {sizes[1]};'
                           ' prepare it again.')
    counts = np.bincount(labels.ravel(), minlength=256)
    found = np.flatnonzero(counts)
    # 0 and 255 alone are a black-and-white mask, not ignored pixels.
    black_and_white = found.tolist() == [0, 255]
    if black_and_white or found[found != 255].max(initial=0) > largest:
        raise RefusedError(
            f'{path}: expected the values 0 to {largest}, found '
            f'{", ".join(map(str, found[:8]))}; prepare it again.')
    return counts


def thumbnail(image: Image.Image) -> np.ndarray:
    """A small grey copy of the retina, whatever margin the image has."""
    small = image.copy()
    small.thumbnail((PREVIEW, PREVIEW), Image.Resampling.BOX)
    x, y, width, height = find_field_of_view(np.array(small)).box
    retina = small.convert('L').crop((x, y, x + width, y + height))
    return np.array(retina.resize(THUMBNAIL, Image.Resampling.BOX), np.float32)


def find_duplicates(reports: Sequence[SplitReport]) -> list[str]:
    """A sentence for each photograph of a training split that occurs in
    others, whatever its size, crop and name.
    """
    eyes = [(report.training, report.images[stem], small) for report in reports
            for stem, small in report.thumbnails.items()]
    problems = []
    for path, small in ((p, s) for training, p, s in eyes if not training):
        same = [
            known for training, known, other in eyes
            if training and np.abs(other - small).mean() < SAME
        ]
        if same:
            problems.append(f'{path}: shows the same as {same[0]}, which is '
                            'trained on; remove it from one of the two.')
    return problems


def _prepared(
        out: Path) -> Iterator[tuple[Path, Collection, dict[str, Record]]]:
    """Folders of prepared collections, what they should hold, and records."""
    known = {collection.folder: collection for collection in COLLECTIONS}
    folders = [out]
    if out.resolve().name not in known and not (out / FILE).is_file():
        own = sorted(p.parent.name for p in out.glob(f'*/{FILE}'))
        folders = [out / name for name in dict.fromkeys([*known, *own])]
    for folder in folders:
        name = folder.resolve().name
        records = read_records(folder)
        if name in known:
            yield folder, known[name], records
            continue
        for key, record in records.items():
            yield folder, record.as_collection(key, name), records


def check(out, workers: int = 2, sheet: bool = False) -> list[SplitReport]:
    """Check a prepared tree or one collection: a report per split, and one of
    duplicates.
    """
    out = Path(out)
    reports: list[SplitReport] = []
    for folder, collection, records in _prepared(out):
        checked = [
            check_split(folder, collection, split, workers, records)
            for split in collection.splits
        ]
        found = [report for report in checked if report is not None]
        reports += found
        if sheet and found:
            write_sheet(out / 'sheets' / f'{collection.folder}.jpg',
                        [list(report.images.values()) for report in found],
                        labels_of(collection, records))
    if not reports:
        names = ', '.join(c.folder for c in COLLECTIONS)
        raise RefusedError(f'{out}: holds none of {names}, and no folder '
                           f'with {FILE}; prepare a collection first.')
    duplicates = find_duplicates(reports)
    title = 'training against other splits'
    return reports + [SplitReport(title, problems=duplicates)
                      ] * bool(duplicates)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; 1 if anything is wrong."""
    parser = make_parser(__doc__)
    add = parser.add_argument
    add('out', metavar='OUT')
    add('--workers', type=int, default=2)
    add('--sheet', action='store_true', help='draw contact sheets')
    args = parser.parse_args(argv)
    try:
        reports = check(**vars(args))
    except (RefusedError, OSError) as error:
        print(f'Error: {sentence_of(error)}', file=sys.stderr)
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
