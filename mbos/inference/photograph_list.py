"""Which photographs a user means, and a name for each that no other has."""
import glob
import os
import os.path as osp
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from mbos.io.photographs import SUFFIXES, count_kinds, is_photograph_name

PATTERN = '*?['


@dataclass(frozen=True)
class Source:
    """A photograph to predict.

    Attributes:
        path (str): Its file, as the user named it.
        name (str): What its outputs are called: a relative path without
            suffix, with ``/`` between folders.
    """

    path: str
    name: str


def find_photographs(inputs: Sequence[str],
                     exclude: str | None = None,
                     left_out: list[str] | None = None) -> list[tuple]:
    """Files that are meant by files, folders and patterns.

    Args:
        inputs (Sequence[str]): Files, which are taken whatever their suffix;
            folders, which are searched with all below them for
            ``SUFFIXES``; and patterns such as ``'eyes/*.jpg'``, in which
            ``**`` stands for any folders.
        exclude (str, optional): Folder that is not searched: outputs are not
            inputs.
        left_out (list[str], optional): Gets a sentence for each folder with
            files that are not taken for photographs.

    Returns:
        list[tuple[str, str]]: Path and name of each, in the order of the
        inputs, sorted in each folder; names may be alike.

    Raises:
        FileNotFoundError: If an input does not exist, or a pattern fits
            nothing.
        ValueError: If a folder holds no photograph, or is to be written too.
    """
    found, seen = [], set()
    for given in inputs:
        if exclude and osp.isdir(given) and osp.realpath(
                given) == osp.realpath(exclude):
            raise ValueError(f'{given}: is the folder of the outputs too; '
                             'give another one to write into.')
        for path, name in _expand(given, exclude, left_out):
            real = osp.realpath(path)
            if real not in seen:
                seen.add(real)
                found.append((path, name))
    return found


def _expand(given: str, exclude: str | None,
            left_out: list[str] | None) -> Iterator[tuple]:
    if osp.isdir(given):
        yield from _search(given, exclude, left_out)
    elif osp.exists(given):
        yield given, _stem(osp.basename(given))
    elif any(c in given for c in PATTERN):
        matches = sorted(glob.glob(given, recursive=True))
        files = [m for m in matches if osp.isfile(m)]
        if not files:
            raise FileNotFoundError(f'No file fits the pattern {given!r}.')
        if left_out is not None and len(files) < len(matches):
            left_out.append(
                f'{given}: left out are {len(matches) - len(files)} folder(s) '
                'that fit; name them to search them.')
        for path in files:
            yield path, _stem(osp.basename(path))
    else:
        raise FileNotFoundError(f'{given}: no such file or folder.')


def _search(folder: str, exclude: str | None,
            left_out: list[str] | None) -> Iterator[tuple]:
    """Photographs below a folder, hidden ones left out."""
    exclude = exclude and osp.realpath(exclude)
    others, count, seen = [], 0, set()
    for base, folders, files in os.walk(folder, followlinks=True):
        real = osp.realpath(base)
        if real in seen:  # links that lead in circles would never end
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(
            f for f in folders if not f.startswith('.')
            and osp.realpath(osp.join(base, f)) != exclude)
        for file in sorted(files):
            if file.startswith('.'):
                continue
            if not is_photograph_name(file):
                others.append(file)
                continue
            count += 1
            path = osp.join(base, file)
            yield path, _stem(osp.relpath(path, folder)).replace(os.sep, '/')
    if others and left_out is not None:
        left_out.append(f'{folder}: left out are {count_kinds(others)}, which '
                        'are not read as photographs.')
    if not count:
        rest = (f'; {len(others)} other file(s) are there '
                f'({count_kinds(others)})') if others else ''
        raise ValueError(f'{folder}: no photographs in it or below it '
                         f'({", ".join(SUFFIXES)}){rest}.')


def _stem(path: str) -> str:
    return osp.splitext(path)[0]


def name_photographs(found: Sequence[tuple],
                     known: Mapping[str, str] | None = None) -> list[Source]:
    """Give each photograph a name of its own.

    Photographs of one name get the names of their folders put before, as many
    as distinguish them, then their suffix. What was named in an earlier run
    keeps its name.

    Args:
        found (Sequence[tuple[str, str]]): Of :func:`find_photographs`.
        known (dict[str, str], optional): Name by absolute path of what is in
            the output folder.

    Returns:
        list[Source]: In the same order.
    """
    known = dict(known or {})
    names = {
        path: known[osp.abspath(path)]
        for path, _ in found if osp.abspath(path) in known
    }
    taken = {_fold(name) for name in known.values()}
    open_ones = {path: _candidates(path, name) for path, name in found
                 if path not in names}  # yapf: disable
    while open_ones:
        wanted = {path: next(c, None) for path, c in open_ones.items()}
        for path in [path for path, name in wanted.items() if name is None]:
            names[path] = _numbered(path, taken)
            taken.add(_fold(names[path]))
            del open_ones[path], wanted[path]
        counts = Counter(_fold(name) for name in wanted.values())
        for path, name in wanted.items():
            if counts[_fold(name)] == 1 and _fold(name) not in taken:
                names[path] = name
                taken.add(_fold(name))
                del open_ones[path]
    return [Source(path, names[path]) for path, _ in found]


def _fold(name: str) -> str:
    """Names that some file systems take for the same are the same."""
    return name.casefold()


def _candidates(path: str, name: str) -> Iterator[str]:
    """Names from short to long."""
    yield name
    absolute = osp.abspath(path)
    parts = _stem(absolute).strip(os.sep).split(os.sep)
    for count in range(name.count('/') + 2, len(parts) + 1):
        yield '/'.join(parts[-count:])
    yield f'{name}_{osp.splitext(path)[1].lstrip(".")}'


def _numbered(path: str, taken) -> str:
    """A name for one of files that nothing else distinguishes."""
    name = osp.basename(path).replace('.', '_')
    number = 2
    while _fold(f'{name}_{number}') in taken:
        number += 1
    return f'{name}_{number}'


def by_path(names: Mapping[str, str]) -> dict[str, str]:
    """Drop photographs that are gone: their names are free."""
    return {path: name for path, name in names.items() if osp.exists(path)}
