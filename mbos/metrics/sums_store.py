"""Sums of evaluated images on disk, so that memory does not hold them.

Every process appends to a file of its own. Each record has a key that says
what the sums are of, so what a run that ended early leaves behind can be used
by the next one if, and only if, it would compute the same. Its body is an npz
archive without pickle, because others may write to the folder.
"""
import io
import os
import os.path as osp
import shutil
import struct
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from typing import Dict, NamedTuple, Optional

import numpy as np

_HEAD = struct.Struct('<QQI')  # lengths of key and body, checksum of both

_BETWEEN, _EMPTY = '/', '{}'
_INTEGER = '#'


def pack(sums: dict) -> bytes:
    """Nested dicts of numbers and arrays as an npz archive.

    Args:
        sums (dict): Keys are texts without slashes, or integers.

    Raises:
        TypeError: If a value is neither number nor array.
    """
    file = io.BytesIO()
    np.savez(file, **dict(_flat(sums)))
    return file.getvalue()


def unpack(data: bytes, only: str | None = None) -> dict:
    """Read what :func:`pack` wrote; numbers come back as NumPy's.

    Args:
        data (bytes): Of anybody.
        only (str, optional): The outermost key that is wanted; the others
            are left out, unread.

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


class Place(NamedTuple):
    """Where the sums of an image are."""

    path: str
    offset: int
    length: int
    key_checksum: int
    checksum: int


def _record(key, sums):
    """Head and body of a record, as bytes."""
    name = key.encode()
    body = pack(sums)
    checksum = zlib.crc32(body, zlib.crc32(name))
    return _HEAD.pack(len(name), len(body), checksum) + name, body


def append_sums(path: str, key: str, sums: dict) -> Place:
    """Append the sums of an image to a file that is not kept open.

    Args:
        path (str): The file of one process; made where it is missing.
        key (str): What the sums are of.
        sums (dict): By task.
    """
    os.makedirs(osp.dirname(path), exist_ok=True)
    head, body = _record(key, sums)
    with open(path, 'ab') as file:
        offset = file.seek(0, os.SEEK_END) + len(head)
        file.write(head + body)
    of_key = zlib.crc32(key.encode())
    return Place(path, offset, len(body), of_key, zlib.crc32(body, of_key))


def remove_sums(folder: str) -> None:
    """Remove a folder of sums, and the one around it if that is empty."""
    shutil.rmtree(folder, ignore_errors=True)
    parent = osp.dirname(folder)
    if osp.isdir(parent) and not os.listdir(parent):
        os.rmdir(parent)


class SumsWriter:
    """Appends the sums of images to a file of its own.

    Args:
        path (str): The file; it must not exist.
    """

    def __init__(self, path: str):
        os.makedirs(osp.dirname(path), exist_ok=True)
        self._file = open(path, 'xb')

    def add(self, key: str, sums: dict) -> None:
        """Write the sums of an image through to the disk's cache.

        Args:
            key (str): What the sums are of; see :func:`read_places`.
            sums (dict): By task.
        """
        self._file.write(b''.join(_record(key, sums)))
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def read_places(folder: str) -> Dict[str, Place]:
    """Find the sums that are in a folder, by their keys.

    A record that was cut off is left out.

    Args:
        folder (str): What :class:`SumsWriter` wrote into; may be missing.
    """
    places = {}
    names = sorted(os.listdir(folder)) if osp.isdir(folder) else []
    for name in names:
        if not name.endswith('.sums'):
            continue
        path = osp.join(folder, name)
        size = osp.getsize(path)
        with open(path, 'rb') as file:
            while file.tell() + _HEAD.size <= size:
                head, body, checksum = _HEAD.unpack(file.read(_HEAD.size))
                if file.tell() + head + body > size:
                    break
                key = file.read(head)
                places[key.decode('ascii',
                                  'replace')] = Place(path, file.tell(), body,
                                                      zlib.crc32(key),
                                                      checksum)
                file.seek(body, os.SEEK_CUR)
    return places


class StoredSums(Sequence):
    """The sums of a test set for one task, read whenever they are asked for.

    Args:
        places (Sequence[Place]): Where the sums of each image are.
        task (str, optional): Name of the task; None for a dict of all.
    """

    def __init__(self, places: Sequence[Place], task: Optional[str] = None):
        self.places = list(places)
        self.task = task

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: int) -> dict:
        place = self.places[index]
        with open(place.path, 'rb') as file:
            file.seek(place.offset)
            content = file.read(place.length)
        try:
            if zlib.crc32(content, place.key_checksum) != place.checksum:
                raise ValueError('the checksum is wrong')
            sums = unpack(content, self.task)
        except ValueError as error:
            raise ValueError(
                f'{place.path}: {error}; remove the folder, the images will '
                'be evaluated again.') from error
        return sums if self.task is None else sums[self.task]
