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
from mmcv.utils import print_log
from mmseg.utils import get_root_logger

from mbos.io.files import save_whole

VERSION = 2
"""int: Changes when arrays that older versions kept must not be used."""
RESERVE = 1 << 30
"""int: Bytes of the disk that are left free for others."""


class ArrayCache:
    """Keep what was decoded from files as arrays that are mapped, not read.

    An entry belongs to the absolute path of its file and holds as long as
    the file's size and time of change stay; a new one replaces it. Entries
    are written whole or not at all, so any number of processes may share the
    folder. Where an entry cannot be written, training goes on without it.
    """

    def __init__(self, folder: str):
        self.folder = folder
        self._full = False

    def get(self, path: str, decode: Callable[[], np.ndarray]) -> np.ndarray:
        """Get the array of a file, decoding it where it is not there yet.

        It may be mapped from the disk: do not write into it.
        """
        entry = self.entry(path)
        array = _load(entry)
        if array is None:
            array = decode()
            self._save(entry, array)
        return array

    def entry(self, path: str) -> str:
        """Name the file of an entry, for the file as it is now."""
        status = os.stat(path)
        name = hashlib.sha1(osp.abspath(path).encode()).hexdigest()[:20]
        stamp = f'{VERSION}-{status.st_mtime_ns:x}-{status.st_size:x}'
        return osp.join(self.folder, f'{name}-{stamp}.npy')

    def free_bytes(self) -> int:
        """Space on the disk that entries may take.

        Raises:
            OSError: If the folder cannot be made.
        """
        os.makedirs(self.folder, exist_ok=True)
        return max(shutil.disk_usage(self.folder).free - RESERVE, 0)

    def _save(self, entry: str, array: np.ndarray) -> None:
        if self._full:
            return
        try:
            if self.free_bytes() < array.nbytes:
                raise OSError('less than '
                              f'{RESERVE / 1e9:.1f} GB of the disk are free')
            save_whole(entry, lambda file: np.save(file, array))
            self._remove_older(entry)
        except OSError as error:
            self._full = True
            warnings.warn(
                f'{self.folder}: decoded images are no longer kept there '
                f'({error}); training goes on and decodes the others each '
                'time. Make room, or name another folder as cache_dir.')

    def _remove_older(self, entry: str) -> None:
        """Remove what was kept of earlier versions of the same file."""
        name = osp.basename(entry).partition('-')[0]
        pattern = osp.join(glob.escape(self.folder), f'{name}-*.npy')
        for other in glob.glob(pattern):
            if other != entry:
                with suppress(FileNotFoundError):  # another process did it
                    os.unlink(other)


def problems_of_cache(folder: str, files: dict[str, int]) -> list[str]:
    """Check that what is not kept yet, bytes by file, finds room."""
    cache = ArrayCache(folder)
    remedy = 'name another folder as cache_dir, or leave cache_dir out'
    try:
        free = cache.free_bytes()
    except OSError as error:
        return [f'{folder}: cannot be made or read ({error}); {remedy}.']
    if not os.access(folder, os.W_OK):
        return [f'{folder}: cannot be written to; {remedy}.']
    missing = sum(size for path, size in files.items()
                  if osp.exists(path) and not osp.exists(cache.entry(path)))
    if missing > free:
        return [
            f'{folder}: decoded images need {missing / 1e9:.1f} GB more, but '
            f'only {free / 1e9:.1f} GB may be used ({RESERVE / 1e9:.1f} GB '
            f'are left for others); make room, {remedy}.'
        ]
    print_log(
        f'Decoded images are kept in {folder}: {missing / 1e9:.1f} GB to '
        f'come, {free / 1e9:.1f} GB free',
        logger=get_root_logger())
    return []


def _load(entry: str) -> np.ndarray | None:
    """Map an entry; None where there is none, or none that is whole."""
    try:
        return np.load(entry, mmap_mode='r')
    except (OSError, ValueError, EOFError):
        return None
