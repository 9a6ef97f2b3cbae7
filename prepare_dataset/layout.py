"""Finding folders and files in raw collections.

Archives often unpack into a folder of the same name once more, and users point
at any level of them. Nothing here reads a file.
"""
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mbos.io import is_printable
from mbos.io.photographs import SUFFIXES, count_kinds
from .errors import PrepareError

IMAGE_SUFFIXES = SUFFIXES
MAX_DEPTH = 7


@dataclass(frozen=True)
class Item:
    """One photograph and what is needed to prepare it.

    Args:
        stem: Name of the prepared files without suffix.
        image: The photograph.
        labels: For each folder to write, ``'ann'`` first of all, a function
            that takes ``size=`` (width, height) and returns labels and counts,
            see ``labels.py``. It is sent to other processes.
        fov: The collection's own field-of-view mask.
    """
    stem: str
    image: Path
    labels: Mapping[str, Callable]
    fov: Path | None = None


@dataclass
class Found:
    """What a raw collection holds of one split.

    Problems are files that are missing or left over, notes what is not a
    fault; photographs were looked for in ``folder``, and the files in
    ``left_out`` are not read as images.
    """
    items: list[Item] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    folder: Path | None = None
    left_out: set[Path] = field(default_factory=set)

    def left_out_notes(self) -> list[str]:
        """Say how many files of other kinds are among those looked at."""
        kinds = count_kinds(path.name for path in self.left_out)
        return [f'left out are {kinds}, which are not read as images.'
                ] if kinds else []


def locate(raw: Path, *endings: str) -> Path | None:
    """Find the folder closest to ``raw`` whose path ends in one of the
    endings.

    ``endings`` are alternatives such as ``'training/images'``, the preferred
    one first; upper and lower case are the same.

    Raises:
        PrepareError: If two folders fit equally well.
    """
    folders = list(_folders(raw))
    for ending in endings:
        parts = tuple(ending.lower().split('/'))
        fit = [(depth, folder) for depth, folder in folders
               if _lower_parts(folder)[-len(parts):] == parts]
        if not fit:
            continue
        closest = min(depth for depth, _ in fit)
        fit = [folder for depth, folder in fit if depth == closest]
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


def _lower_parts(folder: Path) -> tuple[str, ...]:
    return tuple(part.lower() for part in folder.parts)


def _folders(raw: Path) -> Iterator[tuple[int, Path]]:
    """The folder itself and all below it, with their depths."""
    for base, names, _ in os.walk(raw, followlinks=True):
        depth = len(Path(base).relative_to(raw).parts)
        yield depth, Path(base)
        names[:] = sorted(n for n in names if not _hidden(n))
        if depth == MAX_DEPTH:
            names.clear()


def _hidden(name: str) -> bool:
    return name.startswith('.') or name == '__MACOSX'


def visible_files(folder: Path, recursive: bool = True) -> Iterator[Path]:
    """List the files in a folder and below it, but hidden ones."""
    seen = set()
    for base, names, members in os.walk(folder, followlinks=True):
        names[:] = sorted(n for n in names if not _hidden(n))
        real = os.path.realpath(base)
        if real in seen:  # links that lead in circles would never end
            names.clear()
            continue
        seen.add(real)
        if not recursive:
            names.clear()
        yield from (Path(base, m) for m in sorted(members) if not _hidden(m))


def images_by_stem(folder: Path,
                   found: Found,
                   suffixes: tuple[str, ...] = IMAGE_SUFFIXES,
                   key: Callable[[str], str | None] = lambda stem: stem,
                   recursive: bool = True) -> dict[str, Path]:
    """List the image files of a folder by name, in the order of the names.

    Args:
        folder: Folder to list.
        found: Gets a problem for every second file of one name.
        suffixes: Suffixes to take, in lower case.
        key: Turns a file's stem into the name to list it under, or None to
            leave it out.
        recursive: Whether to look into folders below.
    """
    files: dict[str, Path] = {}
    for path in visible_files(folder, recursive):
        name = key(path.stem)
        if path.suffix.lower() not in (*IMAGE_SUFFIXES, *suffixes):
            found.left_out.add(path)
        if path.suffix.lower() not in suffixes or name is None:
            continue
        if not is_printable(path.name):
            found.problems.append(
                f'{path.parent}: the file name {path.name!r} has characters '
                'that cannot be printed; rename the file.')
            continue
        if name in files:
            found.problems.append(
                f'{path}: {files[name]} has the same name and is taken; '
                'remove one of the two.')
        files.setdefault(name, path)
    return dict(sorted(files.items()))


def require(folder: Path | None, raw: Path, what: str) -> Path:
    """Return a folder, or say that it is missing.

    Raises:
        PrepareError: If it is None.
    """
    if folder is None:
        raise PrepareError(
            f'{raw}: {what} not found; unpack the whole archive and give its '
            'top folder (the expected tree is in docs/collections.md).')
    return folder


def orphans(found: Found, masks: Mapping[str, Path],
            images: Mapping[str, Path]) -> None:
    """Report masks that no photograph belongs to."""
    found.problems += [
        f'{path}: there is no photograph {stem} to this mask; unpack the '
        'photographs again, or remove the mask.'
        for stem, path in masks.items() if stem not in images
    ]
