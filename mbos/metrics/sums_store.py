"""Sums of evaluated images on disk, so that memory does not hold them.

The file of an image is named by a key that says what the sums are of, so what
a run that ended early leaves behind can be used by the next one if, and only
if, it would compute the same. It is an npz archive without pickle, because
others may write to the folder.
"""
import io
import os
import os.path as osp
import shutil
import zipfile
import zlib
from collections.abc import Iterator, Sequence

import numpy as np

from mbos.io.files import save_bytes

SUFFIX = '.npz'
_BETWEEN, _EMPTY = '/', '{}'
_INTEGER = '#'


def pack(sums: dict) -> bytes:
    """Nested dicts of numbers and arrays as an npz archive.

    Keys are texts without slashes, or integers.

    Raises:
        TypeError: If a value is neither number nor array.
    """
    file = io.BytesIO()
    np.savez(file, **dict(_flat(sums)))
    return file.getvalue()


def unpack(data: bytes, only: str | None = None) -> dict:
    """Read what :func:`pack` wrote, by anybody; numbers come back as NumPy's.

    Only the outermost key ``only`` is read, if it is given.

    Raises:
        ValueError: If it is damaged or holds anything else.
    """
    sums: dict = {}
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as archive:
            for name in archive.files:
                *parents, last = map(_key, name.split(_BETWEEN))
                if only is not None and only not in (*parents, last)[:1]:
                    continue
                place = sums
                for key in parents:
                    place = place.setdefault(key, {})
                if last != _EMPTY:
                    place[last] = archive[name][()]
    except (ValueError, OSError, EOFError, KeyError, NotImplementedError,
            AttributeError, TypeError, MemoryError, zipfile.BadZipFile,
            zlib.error) as error:
        raise ValueError(f'no whole archive of arrays ({error})') from error
    return sums


def _flat(sums: dict, prefix: str = '') -> Iterator[tuple[str, np.ndarray]]:
    for key, value in sums.items():
        name = f'{_INTEGER}{key}' if isinstance(key, int) else key
        if isinstance(value, dict):
            yield from _flat(value, f'{prefix}{name}{_BETWEEN}')
            continue
        array = np.asarray(value)
        if array.dtype.hasobject:
            raise TypeError(f'{prefix}{name}: {type(value).__name__} is '
                            'neither number nor array')
        yield prefix + name, array
    if not sums:
        yield prefix + _EMPTY, np.empty(0)


def _key(name: str) -> str | int:
    return int(name[1:]) if name.startswith(_INTEGER) else name


def save_sums(folder: str, key: str, sums: dict) -> str:
    """Write the sums of an image, by task; returns the file."""
    content = pack(sums)
    path = osp.join(folder, f'{key}-{zlib.crc32(content):08x}{SUFFIX}')
    save_bytes(path, content)
    return path


def find_sums(folder: str) -> dict[str, str]:
    """Files of sums by their keys, in a folder that may be missing."""
    names = sorted(os.listdir(folder)) if osp.isdir(folder) else []
    return {
        name.rpartition('-')[0]: osp.join(folder, name)
        for name in names if name.endswith(SUFFIX)
    }


def remove_sums(folder: str) -> None:
    """Remove a folder of sums, and the one around it if that is empty."""
    shutil.rmtree(folder, ignore_errors=True)
    parent = osp.dirname(folder)
    if osp.isdir(parent) and not os.listdir(parent):
        os.rmdir(parent)


class StoredSums(Sequence):
    """The sums of a test set for one task, read whenever they are asked for.

    Without a task, each is a dict of all tasks.
    """

    def __init__(self, paths: Sequence[str], task: str | None = None):
        self.paths = list(paths)
        self.task = task

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> dict:
        path = self.paths[index]
        with open(path, 'rb') as file:
            content = file.read()
        try:
            if not path.endswith(f'-{zlib.crc32(content):08x}{SUFFIX}'):
                raise ValueError('the checksum is wrong')
            sums = unpack(content, self.task)
        except ValueError as error:
            raise ValueError(
                f'{path}: {error}; remove the folder, the images will be '
                'evaluated again.') from error
        return sums if self.task is None else sums[self.task]
