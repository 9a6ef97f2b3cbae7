"""Decoded images and label maps, kept on disk between epochs and runs."""
import hashlib
import os
import os.path as osp
import shutil
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np

from mbos.io.files import save_whole

VERSION = 2
"""int: Changes when arrays that older versions kept must not be used."""
RESERVE = 1 << 30
"""int: Bytes of the disk that are left free for others."""


class ArrayCache:
    """Keep what was decoded from files as arrays that are mapped, not read.

    An entry belongs to the absolute path of its file and holds as long as
    the file's size and time of change stay; a new one replaces it. Any number
    of processes may share the folder. Where an entry cannot be written,
    training goes on without it.
    """

    def __init__(self, folder: str):
        self.folder = Path(folder)
        self._full = False

    def get(self, path: str, decode: Callable) -> np.ndarray:
        """Get the array of a file, decoding it where it is not there yet. It
        may be mapped from the disk: do not write into it.
        """
        status = os.stat(path)
        name = hashlib.sha1(osp.abspath(path).encode()).hexdigest()[:20]
        stamp = f'{VERSION}-{status.st_mtime_ns:x}-{status.st_size:x}'
        entry = self.folder / f'{name}-{stamp}.npy'
        with suppress(OSError, ValueError, EOFError):  # missing, or not whole
            return np.load(entry, mmap_mode='r')
        array = decode(path)
        try:
            if not self._full:
                self._save(entry, array)
        except OSError as error:
            self._full = True
            warnings.warn(
                f'{self.folder}: decoded images are no longer kept there '
                f'({error}); training goes on and decodes the others each '
                'time. Make room, or name another folder as cache_dir.')
        return array

    def _save(self, entry: Path, array: np.ndarray) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(self.folder).free
        if free < RESERVE + array.nbytes:
            raise OSError(f'{free / 1e9:.1f} GB of the disk are free')
        save_whole(entry, lambda file: np.save(file, array))
        for other in self.folder.glob(entry.name.partition('-')[0] + '-*.npy'):
            if other != entry:  # of an earlier version of the same file
                other.unlink(missing_ok=True)
