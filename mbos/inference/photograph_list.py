"""Which photographs a user means, and a name for each that no other has."""
import glob
import os
import os.path as osp
from collections import Counter
from collections.abc import Mapping, Sequence

from mbos.io.photographs import SUFFIXES, is_photograph_name

Names = dict[str, str]
"""dict[str, str]: By the file of a photograph, as the user named it, what its
outputs are called: a path without suffix and with ``/``."""


def find_photographs(inputs: Sequence[str],
                     exclude: str | None = None) -> tuple[Names, list[str]]:
    """Photographs in the order of the inputs, sorted in each folder, with
    names that may be equal; and the files that were left out of folders.

    Args:
        inputs: Files, which are taken whatever their suffix; folders, which
            are searched with all below them for ``SUFFIXES``; and patterns
            such as ``'eyes/*.jpg'``, in which ``**`` stands for any folders.
        exclude: Folder of the outputs, which is not searched.

    Raises:
        FileNotFoundError: If an input is not there, or stands for no
            photograph.
    """
    found: dict[str, tuple[str, str]] = {}
    left_out: list[str] = []
    for given in inputs:
        names: Names = {}
        matches = [given] if osp.exists(given) else sorted(
            glob.glob(given, recursive=True))
        for path in matches:
            if osp.isdir(path):
                names |= _search(path, exclude, left_out)
            else:
                names[path] = osp.splitext(osp.basename(path))[0]
        if not matches and not glob.has_magic(given):
            raise FileNotFoundError(f'{given}: no such file or folder.')
        if not names:
            raise FileNotFoundError(
                f'{given}: no photographs found; expected a file, a pattern, '
                'or a folder, other than that of the outputs, with '
                f'{", ".join(SUFFIXES)} in it or below it.')
        for path, name in names.items():
            found.setdefault(osp.realpath(path), (path, name))
    return dict(found.values()), left_out


def _search(folder: str, exclude: str | None, left_out: list[str]) -> Names:
    """Photographs in and below a folder, hidden ones left out."""
    names: Names = {}
    seen = {exclude and osp.realpath(exclude)}
    for base, folders, files in os.walk(folder, followlinks=True):
        folders[:] = sorted(f for f in folders if not f.startswith('.'))
        if osp.realpath(base) in seen:  # as in links that lead in circles
            folders.clear()
            continue
        seen.add(osp.realpath(base))
        for file in sorted(f for f in files if not f.startswith('.')):
            path = osp.join(base, file)
            if is_photograph_name(file):
                name = osp.splitext(osp.relpath(path, folder))[0]
                names[path] = name.replace(os.sep, '/')
            else:
                left_out.append(path)
    return names


def name_photographs(found: Names,
                     known: Mapping[str, str] | None = None) -> Names:
    """Give each photograph a name of its own.

    Photographs of one name get the names of their folders put before, as many
    as distinguish them, or their suffix behind. What was named in an earlier
    run (by its absolute path in ``known``) keeps its name. Names count as
    equal that differ in case only, as some file systems have it.
    """
    known = known or {}
    candidates = [
        _candidates(path, name, number)
        for number, (path, name) in enumerate(found.items(), 1)
    ]
    counts = Counter(name.casefold() for names in candidates for name in names)
    counts.update({name.casefold(): 2 for name in known.values()})
    return {
        path:
        known.get(osp.abspath(path)) or next(
            (n for n in names if counts[n.casefold()] == 1), names[-1])
        for path, names in zip(found, candidates)
    }


def _candidates(path: str, name: str, number: int) -> list[str]:
    """Names from short to long, at last with a number."""
    stem, suffix = osp.splitext(osp.abspath(path))
    parts = stem.strip(os.sep).split(os.sep)
    folders = range(name.count('/') + 2, len(parts) + 1)
    with_folders = ['/'.join(parts[-count:]) for count in folders]
    with_suffix = f'{name}_{suffix.lstrip(".")}'
    return [name, *with_folders, with_suffix, f'{with_suffix}_{number}']
