"""Which photographs a user means, and a name for each that no other has."""
import glob
import os
import os.path as osp
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mbos.io.photographs import SUFFIXES, count_kinds, is_photograph_name


@dataclass(frozen=True)
class Source:
    """A photograph to predict: its file, as the user named it, and what its
    outputs are called, a path without suffix and with ``/``."""

    path: str
    name: str


def find_photographs(inputs: Sequence[str],
                     exclude: str | None = None,
                     left_out: list[str] | None = None) -> list[Source]:
    """Photographs in the order of the inputs, sorted in each folder.

    Args:
        inputs (Sequence[str]): Files, which are taken whatever their suffix;
            folders, which are searched with all below them for
            ``SUFFIXES``; and patterns such as ``'eyes/*.jpg'``, in which
            ``**`` stands for any folders.
        exclude (str, optional): Folder of the outputs, which is not searched.
        left_out (list[str], optional): Gets a sentence for each folder with
            files that are not taken for photographs.

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
    as distinguish them, or their suffix behind. What was named in an earlier
    run (by its absolute path in ``known``) keeps its name. Names count as
    equal that differ in case only, as some file systems have it.
    """
    known = known or {}
    candidates = [
        _candidates(source, number) for number, source in enumerate(found, 1)
    ]
    counts = Counter(name.casefold() for names in candidates for name in names)
    counts.update({name.casefold(): 2 for name in known.values()})
    return [
        Source(
            source.path,
            known.get(osp.abspath(source.path)) or next(
                (n for n in names if counts[n.casefold()] == 1), names[-1]))
        for source, names in zip(found, candidates)
    ]


def _candidates(source: Source, number: int) -> list[str]:
    """Names from short to long, at last with a number."""
    stem, suffix = osp.splitext(osp.abspath(source.path))
    parts = stem.strip(os.sep).split(os.sep)
    with_folders = [
        '/'.join(parts[-count:])
        for count in range(source.name.count('/') + 2,
                           len(parts) + 1)
    ]
    with_suffix = f'{source.name}_{suffix.lstrip(".")}'
    return [source.name, *with_folders, with_suffix, f'{with_suffix}_{number}']
