"""Finding photographs and their masks in raw collections, by names.

Archives unpack into folders of other names, once more into one of the same
name, and copies are renamed, flattened and converted. So each collection says
what a file is by its name and those of its folders, wherever it lies. Nothing
here reads a file.
"""
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from mbos.io import is_printable
from mbos.io.photographs import SUFFIXES, count_kinds

Files = dict[str, Path]
"""Files by the name of the photograph that they belong to."""
KindOf = Callable[[Path, Sequence[str]], tuple[str, str] | None]
"""By a file and the lower-case names of its folders: what it is, 'images',
'fov' or a kind of masks, and the photograph that it belongs to; None for what
is no part of the collection."""

IMAGE_SUFFIXES = SUFFIXES
REFUSE, LEAVE_OUT, GO_WITHOUT = 'refuse', 'leave out', 'go without'
SPLITS = dict(
    train=('train', 'training', 'train_set', 'training_set', 'training set',
           'a. training set'),
    val=('val', 'valid', 'validation', 'validation_set'),
    test=('test', 'testing', 'test_set', 'testing_set', 'b. testing set'))
"""dict[str, tuple]: What the folders of splits are called."""
IMAGES = ('images', 'image', 'img', 'imgs', 'original', 'fundus', 'photos')
MASK_WORDS = re.compile(
    r'mask|label|annot|(^|[\W_])gts?([\W_]|$)|ground|truth|manual|segment|'
    r'vessel|markup_')
"""re.Pattern: What a folder of masks is called."""
MASK_ENDING = re.compile(
    r'[-_ ](masks?|gts?|seg|segmentation|labels?|annotation|groundtruth|'
    r'ground_truth|vessels?|manual1?|disc_?cup)$', re.IGNORECASE)
"""re.Pattern: What names of masks have behind those of photographs."""
DERIVED = re.compile(r'crop|square|resiz|disc_?fovea|overlay')
"""re.Pattern: Folders of pictures that were made of the photographs."""
JPEG = ('.jpg', '.jpeg')


@dataclass(frozen=True)
class Item:
    """One photograph; its labels are readers by folder to write, see
    ``labels.py``, that take ``layout=``.
    """
    stem: str  # name of the prepared files without suffix
    image: Path
    labels: Mapping[str, Callable]
    fov: Path | None = None  # the collection's own field-of-view mask


@dataclass
class Found:
    """What a raw collection holds of one split, in ``folder``; the files in
    ``left_out`` are not read as images.
    """
    folder: Path | None = None
    items: list[Item] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    left_out: set[Path] = field(default_factory=set)


@dataclass(frozen=True)
class Plane:
    """How masks become the labels of one folder; a photograph that lacks one
    is a problem (``REFUSE``), a note (``LEAVE_OUT``) or neither.
    """
    reader: Callable  # see labels.py
    masks: Sequence[str]  # kinds, in the order of the reader's arguments
    if_missing: str = REFUSE
    some_suffice: bool = False  # the photograph does not show the others


def gather(found: Found,
           kind_of: KindOf,
           split: str | None = None,
           suffixes: Sequence[str] = IMAGE_SUFFIXES) -> dict[str, Files]:
    """Sort the images in ``found.folder`` by kind, then by name: with a split,
    those whose nearest folder that is called like a split is called like it.
    A second file of one kind and name is a problem.
    """
    files: dict[str, Files] = {}
    raw = found.folder
    for path in visible_files(raw):
        folders = path.relative_to(raw).as_posix().lower().split('/')[:-1]
        if split and split != _split_of([raw.resolve().name, *folders]):
            continue
        place = kind_of(path, folders)
        if place is None:
            continue
        kind, name = place
        if path.suffix.lower() not in suffixes:
            found.left_out.add(path)
        elif not is_printable(path.name):
            found.problems.append(unprintable(path))
        else:
            other = files.setdefault(kind, {}).setdefault(name, path)
            if other != path:
                found.problems.append(taken(path, other))
    return {kind: dict(sorted(named.items())) for kind, named in files.items()}


def _split_of(folders: Sequence[str]) -> str | None:
    for folder in reversed(folders):
        for split, names in SPLITS.items():
            if folder.lower() in names:
                return split
    return None


def nearest(folders: Sequence[str], kinds: Mapping[str, str]) -> str | None:
    """The kind that the nearest folder of some names stands for."""
    return next((kinds[f] for f in reversed(folders) if f in kinds), None)


def photograph_or_mask(kind: str, path: Path,
                       folders: Sequence[str]) -> tuple[str, str] | None:
    """Whether a file is one of 'images' or a mask of a kind, and its bare
    name.

    A mask is a file in a folder that is called like one, a BMP, a file called
    like its photograph and ``_mask``, or one beside the JPEG of its name;
    pictures that others made of the photographs are left out.
    """
    if any(map(DERIVED.search, folders)):
        return None
    name = MASK_ENDING.sub('', path.stem)
    says = [f for f in folders if f in IMAGES or MASK_WORDS.search(f)]
    suffix = path.suffix.lower()
    is_mask = (
        name != path.stem or suffix == '.bmp'
        or bool(says and says[-1] not in IMAGES))
    if not is_mask and suffix not in JPEG:
        is_mask = any(
            path.with_suffix(jpeg).exists() for s in JPEG
            for jpeg in (s, s.upper()))
    return kind if is_mask else 'images', name


def pair(
    found: Found,
    files: Mapping[str, Files],
    planes: Mapping[str, Plane],
    optional: Sequence[str] = ()) -> Found | None:
    """Put the photographs and masks of :func:`gather` together; None if there
    are none. A plane is not made if there are no files for it and its kinds
    are ``optional``.
    """
    if not files:
        return None
    images = files.get('images', {})
    planes = dict(planes)
    for folder, plane in list(planes.items()):
        missing = set(plane.masks) - files.keys()
        if plane.some_suffice and len(missing) < len(plane.masks):
            missing = set()
        may_lack = plane.if_missing == GO_WITHOUT or missing <= {*optional}
        if not may_lack:
            found.problems.append(
                f'{found.folder}: of {len(images)} photographs none has masks '
                f'of {", ".join(sorted(missing))}; unpack the whole archive '
                '(the expected tree is in docs/collections.md).')
            return found
        if missing == set(plane.masks):
            del planes[folder]
    found.problems += [
        f'{path}: there is no photograph {name} to this mask; unpack the '
        'photographs again, or remove the mask.' for by_name in files.values()
        for name, path in by_name.items() if name not in images
    ]
    left_out: Counter[str] = Counter()
    for name, image in images.items():
        labels = {}
        for folder, plane in planes.items():
            paths = [files.get(kind, {}).get(name) for kind in plane.masks]
            if all(paths) or (plane.some_suffice and any(paths)):
                labels[folder] = partial(plane.reader, *paths)
                continue
            lacking = ', '.join(k for k, path in zip(plane.masks, paths)
                                if path is None)
            if plane.if_missing == REFUSE:
                found.problems.append(f'{image}: its mask of {lacking} is '
                                      'missing; unpack the masks again.')
                break
            if plane.if_missing == LEAVE_OUT:
                left_out[lacking] += 1
                break
        else:
            fov = files.get('fov', {}).get(name)
            found.items.append(Item(name, image, labels, fov))
    found.notes += [
        f'{count} photographs have no {lacking} mask and are left out.'
        for lacking, count in left_out.items()
    ]
    return found


def find_by_names(raw: Path,
                  split: str,
                  kind_of: KindOf,
                  planes: Mapping[str, Plane],
                  has_splits: bool = True,
                  suffixes: Sequence[str] = IMAGE_SUFFIXES) -> Found | None:
    """Find the photographs and masks of a split: :func:`gather` and
    :func:`pair`.
    """
    found = Found(raw)
    files = gather(found, kind_of, split if has_splits else None, suffixes)
    return pair(found, files, planes)


def visible_files(folder: Path) -> Iterator[Path]:
    """List the files in a folder and below it, but hidden ones."""
    seen = set()
    for base, names, members in os.walk(folder, followlinks=True):
        names[:] = sorted(n for n in names if not _hidden(n))
        # of a folder and a link to it, the link has the name that was meant
        names.sort(key=lambda name: not os.path.islink(Path(base, name)))
        real = os.path.realpath(base)
        if real in seen:  # links that lead in circles would never end
            names.clear()
            continue
        seen.add(real)
        yield from (Path(base, m) for m in sorted(members) if not _hidden(m))


def _hidden(name: str) -> bool:
    return name.startswith('.') or name == '__MACOSX'


def taken(path: Path, other: Path) -> str:
    """Say that another file has the same name."""
    return (f'{path}: {other} has the same name and is taken; remove one of '
            'the two.')


def unprintable(path: Path) -> str:
    """Say that a file's name would spoil lists and logs."""
    return (f'{path.parent}: the file name {path.name!r} has characters that '
            'cannot be printed; rename the file.')


def note_of_left_out(paths: Iterable[Path]) -> list[str]:
    """Say how many files of other kinds are among those looked at."""
    kinds = count_kinds(path.name for path in paths)
    return [f'left out are {kinds}, which are not read as images.'
            ] if kinds else []
