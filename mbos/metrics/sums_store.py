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
import zlib
from collections.abc import Mapping, Sequence

import numpy as np

from mbos.io.files import save_bytes

SUFFIX = '.npz'


def save_sums(folder: str, key: str,
              sums: Mapping[str, Mapping[str, np.ndarray]]) -> str:
    """Write the sums of an image, by task and name; returns the file."""
    file = io.BytesIO()
    np.savez(
        file, **{
            f'{task}/{name}': value
            for task, own in sums.items()
            for name, value in own.items()
        })
    content = file.getvalue()
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
    """

    def __init__(self, paths: Sequence[str], task: str):
        self.paths = list(paths)
        self.task = task

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        path, start = self.paths[index], f'{self.task}/'
        try:
            with open(path, 'rb') as file:
                content = file.read()
            if not path.endswith(f'-{zlib.crc32(content):08x}{SUFFIX}'):
                raise ValueError('the checksum is wrong')
            with np.load(io.BytesIO(content), allow_pickle=False) as archive:
                return {
                    name.removeprefix(start): archive[name]
                    for name in archive.files if name.startswith(start)
                }
        except Exception as error:  # of zipfile, zlib and NumPy: many kinds
            raise ValueError(
                f'{path}: no whole archive of arrays ({error}); remove the '
                'folder, the images will be evaluated again.') from error
