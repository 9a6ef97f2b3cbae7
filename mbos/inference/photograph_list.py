"""Which photographs a user means, and a name for each that no other has."""
import glob
import itertools
import os
import os.path as osp
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from mbos.io.photographs import SUFFIXES, count_kinds, is_photograph_name

PATTERN = frozenset('*?[')


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
                     left_out: list[str] | None = None) -> list[Source]:
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
        list[Source]: In the order of the inputs, sorted in each folder; names
        may be alike.

    Raises:
        FileNotFoundError: If an input does not exist, or a pattern fits
            nothing.
        ValueError: If a folder holds no photograph, or is to be written too.
    """
    left_out = [] if left_out is None else left_out
    exclude = exclude and osp.realpath(exclude)
    found = {}
    for given in inputs:
        for source in _expand(given, exclude, left_out):
            found.setdefault(osp.realpath(source.path), source)
    return list(found.values())


def _expand(given: str, exclude: str | None,
            left_out: list[str]) -> Iterator[Source]:
    if osp.isdir(given):
        if osp.realpath(given) == exclude:
            raise ValueError(f'{given}: is the folder of the outputs too; '
                             'give another one to write into.')
        yield from _search(given, exclude, left_out)
    elif osp.exists(given):
        yield Source(given, _stem(osp.basename(given)))
    elif PATTERN & set(given):
        matches = sorted(glob.glob(given, recursive=True))
        files = [m for m in matches if osp.isfile(m)]
        if not files:
            raise FileNotFoundError(f'No file fits the pattern {given!r}.')
        if len(files) < len(matches):
            left_out.append(
                f'{given}: left out are {len(matches) - len(files)} folder(s) '
                'that fit; name them to search them.')
        for path in files:
            yield Source(path, _stem(osp.basename(path)))
    else:
        raise FileNotFoundError(f'{given}: no such file or folder.')


def _search(folder: str, exclude: str | None,
            left_out: list[str]) -> Iterator[Source]:
    """Photographs below a folder, hidden ones left out."""
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
        for file in sorted(f for f in files if not f.startswith('.')):
            if is_photograph_name(file):
                count += 1
                path = osp.join(base, file)
                name = _stem(osp.relpath(path, folder))
                yield Source(path, name.replace(os.sep, '/'))
            else:
                others.append(file)
    if others:
        left_out.append(f'{folder}: left out are {count_kinds(others)}, which '
                        'are not read as photographs.')
    if not count:
        rest = (f'; {len(others)} other file(s) are there '
                f'({count_kinds(others)})') if others else ''
        raise ValueError(f'{folder}: no photographs in it or below it '
                         f'({", ".join(SUFFIXES)}){rest}.')


def _stem(path: str) -> str:
    return osp.splitext(path)[0]


def name_photographs(found: Sequence[Source],
                     known: Mapping[str, str] | None = None) -> list[Source]:
    """Give each photograph a name of its own.

    Photographs of one name get the names of their folders put before, as many
    as distinguish them, then their suffix. What was named in an earlier run
    keeps its name. Names count as equal that differ in case only, as some
    file systems have it.

    Args:
        found (Sequence[Source]): Of :func:`find_photographs`.
        known (dict[str, str], optional): Name by absolute path of what is in
            the output folder.

    Returns:
        list[Source]: In the same order.
    """
    known = known or {}
    names = {
        source.path: known[osp.abspath(source.path)]
        for source in found if osp.abspath(source.path) in known
    }
    taken = {name.casefold() for name in known.values()}
    candidates = {
        source.path: _candidates(source, number)
        for number, source in enumerate(found, 1) if source.path not in names
    }
    while candidates:
        wanted = {path: next(more) for path, more in candidates.items()}
        counts = Counter(name.casefold() for name in wanted.values())
        for path, name in wanted.items():
            if counts[name.casefold()] == 1 and name.casefold() not in taken:
                names[path] = name
                taken.add(name.casefold())
                del candidates[path]
    return [Source(source.path, names[source.path]) for source in found]


def _candidates(source: Source, number: int) -> Iterator[str]:
    """Names from short to long, without end; numbered where nothing else
    distinguishes two files."""
    yield source.name
    stem, suffix = osp.splitext(osp.abspath(source.path))
    parts = stem.strip(os.sep).split(os.sep)
    for count in range(source.name.count('/') + 2, len(parts) + 1):
        yield '/'.join(parts[-count:])
    with_suffix = f'{source.name}_{suffix.lstrip(".")}'
    yield with_suffix
    for attempt in itertools.count():
        yield f'{with_suffix}_{number}' + '_' * attempt
