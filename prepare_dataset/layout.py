"""Finding photographs and their masks in raw collections.

Archives often unpack into a folder of the same name once more, and users point
at any level of them. Nothing here reads a file.
"""
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from mbos.io import is_printable
from mbos.io.photographs import SUFFIXES, count_kinds
from .errors import MissingFolderError, PrepareError

Files = dict[str, Path]
"""Files by the name of the photograph that they belong to."""

IMAGE_SUFFIXES = SUFFIXES
MAX_DEPTH = 7
REFUSE, LEAVE_OUT, GO_WITHOUT = 'refuse', 'leave out', 'go without'


@dataclass(frozen=True)
class Item:
    """One photograph and what is needed to prepare it.

    ``labels`` are by folder to write: functions that take ``layout=`` and
    return labels and counts, see ``labels.py``. They are sent to other
    processes.
    """
    stem: str  # name of the prepared files without suffix
    image: Path
    labels: Mapping[str, Callable]
    fov: Path | None = None  # the collection's own field-of-view mask


@dataclass
class Found:
    """What a raw collection holds of one split.

    Problems are files that are missing or left over, notes what is not a
    fault; photographs were looked for in ``folder``, and the files in
    ``left_out`` are not read as images. ``images`` and ``masks`` are all that
    were found, of which the items were made.
    """
    items: list[Item] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    folder: Path | None = None
    left_out: set[Path] = field(default_factory=set)
    images: Files = field(default_factory=dict)
    masks: Mapping[str, Files | None] = field(default_factory=dict)


@dataclass(frozen=True)
class Plane:
    """How masks become the labels of one folder.

    ``if_missing`` is what is done with a photograph that lacks one:
    ``REFUSE`` is a problem, ``LEAVE_OUT`` a note, ``GO_WITHOUT`` neither.
    """
    reader: Callable  # see labels.py
    masks: Sequence[str]  # kinds, in the order of the reader's arguments
    if_missing: str = REFUSE
    some_suffice: bool = False  # the photograph does not show the others


def find_tree(raw: Path,
              images: Sequence[str],
              masks: Mapping[str, Sequence[str]],
              planes: Mapping[str, Plane],
              optional: Sequence[str] = (),
              keys: Mapping[str, Callable] | None = None,
              suffixes: Sequence[str] = IMAGE_SUFFIXES) -> Found | None:
    """Find the photographs of a folder and the masks of others.

    Args:
        images: Endings of the folder's path, the preferred one first.
        masks: The same for each kind of masks; ``'fov'`` are fields of view.
        planes: What becomes of them, by label folder.
        optional: Kinds whose folder may be missing.
        keys: Turns a file's stem into the name of its photograph, or None to
            leave it out; by kind, ``'images'``, or ``''`` for all others.
        suffixes: Suffixes to take, in lower case.

    Returns:
        Found | None: None if there is no such folder of photographs.

    Raises:
        MissingFolderError: If there is none of masks.
    """
    folder = locate(raw, *images)
    if folder is None:
        return None
    found, keys = Found(folder=folder), keys or {}

    def files(kind: str, at: Path) -> Files:
        key = keys.get(kind, keys.get('', str))
        return images_by_stem(at, found, key, suffixes)

    photographs = files('images', folder)
    known: dict[str, Files | None] = {}
    for kind, endings in masks.items():
        at = locate(raw, *endings)
        if at is None and kind not in optional:
            raise MissingFolderError(
                f'{raw}: the masks {endings[0]} not found; unpack the whole '
                'archive and give its top folder (the expected tree is in '
                'docs/collections.md).')
        known[kind] = None if at is None else files(kind, at)
    return pair(found, photographs, known, planes)


def pair(found: Found, images: Files, masks: Mapping[str, Files | None],
         planes: Mapping[str, Plane]) -> Found:
    """Put the masks of each photograph together.

    ``masks`` are by kind, None where they have no folder; a plane of which
    no mask has one is not made.
    """
    found.images, found.masks = images, masks
    found.problems += [
        f'{path}: there is no photograph {stem} to this mask; unpack the '
        'photographs again, or remove the mask.' for files in masks.values()
        for stem, path in (files or {}).items() if stem not in images
    ]
    planes = {
        folder: plane
        for folder, plane in planes.items() if any(
            masks.get(kind) is not None for kind in plane.masks)
    }
    left_out: Counter[str] = Counter()
    for stem, image in images.items():
        labels = {}
        for folder, plane in planes.items():
            paths = [(masks[kind] or {}).get(stem) for kind in plane.masks]
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
            found.items.append(
                Item(stem, image, labels, (masks.get('fov') or {}).get(stem)))
    found.notes += [
        f'{count} photographs have no {lacking} mask and are left out.'
        for lacking, count in left_out.items()
    ]
    return found


def published_or_copy(published: Callable[[], Found | None], *copies:
                      Callable[[], Found | None]) -> Found | None:
    """What the published tree holds; if that is nothing, what a copy does in
    which folders and files are called otherwise.
    """
    missing, empty = None, None
    for look in (published, *copies):
        try:
            found = look()
        except MissingFolderError as error:
            missing = missing or (look is published and error)
            continue
        if found is not None and found.items:
            return found
        empty = empty or found
    if missing:
        raise missing
    return empty


def locate(raw: Path, *endings: str) -> Path | None:
    """Find the folder closest to ``raw`` whose path ends in one of the
    endings: alternatives such as ``'training/images'``, the preferred one
    first; upper and lower case are the same.

    Raises:
        PrepareError: If two folders fit equally well.
    """
    folders = list(_folders(raw))
    for ending in endings:
        fit = [
            folder for folder in folders
            if f'/{folder.as_posix()}'.lower().endswith(f'/{ending.lower()}')
        ]
        if not fit:
            continue
        closest = min(len(folder.parts) for folder in fit)
        fit = [folder for folder in fit if len(folder.parts) == closest]
        if len(fit) > 1:
            raise PrepareError(
                f'{raw}: both {fit[0].relative_to(raw)} and '
                f'{fit[1].relative_to(raw)} could be meant; give the folder '
                'of one collection.')
        return _unnest(fit[0])
    return None


def _unnest(folder: Path) -> Path:
    """Step into folders of the same name that hold everything."""
    while True:
        children = [c for c in folder.iterdir() if not c.name.startswith('.')]
        inner = folder / folder.name
        if children != [inner] or not inner.is_dir():
            return folder
        folder = inner


def _folders(raw: Path) -> Iterator[Path]:
    """The folder itself and those below it."""
    for base, names, _ in os.walk(raw, followlinks=True):
        yield Path(base)
        names[:] = sorted(n for n in names if not _hidden(n))
        if len(Path(base).relative_to(raw).parts) == MAX_DEPTH:
            names.clear()


def _hidden(name: str) -> bool:
    return name.startswith('.') or name == '__MACOSX'


def visible_files(folder: Path) -> Iterator[Path]:
    """List the files in a folder and below it, but hidden ones."""
    seen = set()
    for base, names, members in os.walk(folder, followlinks=True):
        names[:] = sorted(n for n in names if not _hidden(n))
        real = os.path.realpath(base)
        if real in seen:  # links that lead in circles would never end
            names.clear()
            continue
        seen.add(real)
        yield from (Path(base, m) for m in sorted(members) if not _hidden(m))


def images_by_stem(folder: Path,
                   found: Found,
                   key: Callable[[str], str | None] = str,
                   suffixes: Sequence[str] = IMAGE_SUFFIXES) -> Files:
    """List the image files in a folder and below it by name, in the order of
    the names.

    ``found`` gets a problem for every second file of one name; ``key`` turns
    a file's stem into its name, or None to leave it out.
    """
    files: Files = {}
    for path in visible_files(folder):
        if path.suffix.lower() not in suffixes:
            found.left_out.add(path)
            continue
        name = key(path.stem)
        if name is None:
            continue
        if not is_printable(path.name):
            found.problems.append(unprintable(path))
        elif files.setdefault(name, path) != path:
            found.problems.append(taken(path, files[name]))
    return dict(sorted(files.items()))


def taken(path: Path, other: Path) -> str:
    """Say that another file has the same name."""
    return (f'{path}: {other} has the same name and is taken; remove one of '
            'the two.')


def unprintable(path: Path) -> str:
    """Say that a file's name would spoil lists and logs."""
    return (f'{path.parent}: the file name {path.name!r} has characters that '
            'cannot be printed; rename the file.')


def note_of_left_out(paths) -> list[str]:
    """Say how many files of other kinds are among those looked at."""
    kinds = count_kinds(path.name for path in paths)
    return [f'left out are {kinds}, which are not read as images.'
            ] if kinds else []
