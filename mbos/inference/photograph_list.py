"""Which photographs a user means, and a name for each that no other has."""
import glob
import itertools
import os
import os.path as osp
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from mbos.io.photographs import SUFFIXES, count_kinds, is_photograph_name


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
    found: dict[str, Source] = {}
    for given in inputs:
        if osp.isdir(given):
            sources = _search(given, exclude, left_out)
        elif osp.exists(given):
            sources = [_named_alone(given)]
        else:
            sources = _matches(given, left_out)
        for source in sources:
            found.setdefault(osp.realpath(source.path), source)
    return list(found.values())


def _named_alone(path: str) -> Source:
    return Source(path, osp.splitext(osp.basename(path))[0])


def _matches(pattern: str, left_out: list[str]) -> list[Source]:
    """Files that fit a pattern."""
    matches = sorted(glob.glob(pattern, recursive=True))
    files = [path for path in matches if osp.isfile(path)]
    if not files:
        raise FileNotFoundError(f'{pattern}: no such file or folder, and no '
                                'file fits it as a pattern.')
    if len(files) < len(matches):
        left_out.append(
            f'{pattern}: left out are {len(matches) - len(files)} folder(s) '
            'that fit; name them to search them.')
    return [_named_alone(path) for path in files]


def _search(folder: str, exclude: str | None,
            left_out: list[str]) -> list[Source]:
    """Photographs in and below a folder, hidden ones left out."""
    if osp.realpath(folder) == exclude:
        raise ValueError(f'{folder}: is the folder of the outputs too; give '
                         'another one to write into.')
    found: list[Source] = []
    others: list[str] = []
    seen = {exclude}
    for base, folders, files in os.walk(folder, followlinks=True):
        folders[:] = sorted(f for f in folders if not f.startswith('.'))
        if osp.realpath(base) in seen:  # as in links that lead in circles
            folders.clear()
            continue
        seen.add(osp.realpath(base))
        for file in sorted(f for f in files if not f.startswith('.')):
            if is_photograph_name(file):
                path = osp.join(base, file)
                name = osp.splitext(osp.relpath(path, folder))[0]
                found.append(Source(path, name.replace(os.sep, '/')))
            else:
                others.append(file)
    if others:
        left_out.append(f'{folder}: left out are {count_kinds(others)}, which '
                        'are not read as photographs.')
    if not found:
        raise ValueError(
            f'{folder}: no photographs in it or below it '
            f'({", ".join(SUFFIXES)}); {len(others)} other file(s).')
    return found


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
    return [replace(source, name=names[source.path]) for source in found]


def _candidates(source: Source, number: int) -> Iterator[str]:
    """Names from short to long, at last with a number."""
    yield source.name
    stem, suffix = osp.splitext(osp.abspath(source.path))
    parts = stem.strip(os.sep).split(os.sep)
    for count in range(source.name.count('/') + 2, len(parts) + 1):
        yield '/'.join(parts[-count:])
    for times in itertools.count():
        yield f'{source.name}_{suffix.lstrip(".")}' + f'_{number}' * times
