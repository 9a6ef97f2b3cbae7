"""Decoded images and label maps, kept on disk between epochs and runs."""
import glob
import hashlib
import os
import os.path as osp
import shutil
import warnings
from collections.abc import Callable
from contextlib import suppress

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
        self.folder = folder
        self._full = False

    def get(self, path: str, decode: Callable[[str],
                                              np.ndarray]) -> np.ndarray:
        """Get the array of a file, decoding it where it is not there yet.

        It may be mapped from the disk: do not write into it.
        """
        entry = self.entry(path)
        with suppress(OSError, ValueError, EOFError):  # missing, or not whole
            return np.load(entry, mmap_mode='r')
        array = decode(path)
        if not self._full:
            self._save(entry, array)
        return array

    def entry(self, path: str) -> str:
        """Name the file of an entry, for the file as it is now."""
        status = os.stat(path)
        name = hashlib.sha1(osp.abspath(path).encode()).hexdigest()[:20]
        stamp = f'{VERSION}-{status.st_mtime_ns:x}-{status.st_size:x}'
        return osp.join(self.folder, f'{name}-{stamp}.npy')

    def _save(self, entry: str, array: np.ndarray) -> None:
        try:
            os.makedirs(self.folder, exist_ok=True)
            free = shutil.disk_usage(self.folder).free
            if free < RESERVE + array.nbytes:
                raise OSError(f'{free / 1e9:.1f} GB of the disk are free')
            save_whole(entry, lambda file: np.save(file, array))
        except OSError as error:
            self._full = True
            warnings.warn(
                f'{self.folder}: decoded images are no longer kept there '
                f'({error}); training goes on and decodes the others each '
                'time. Make room, or name another folder as cache_dir.')
            return
        name = osp.basename(entry).partition('-')[0]
        for other in glob.glob(f'{glob.escape(self.folder)}/{name}-*.npy'):
            if other != entry:  # of an earlier version of the same file
                with suppress(FileNotFoundError):  # another process did it
                    os.unlink(other)
