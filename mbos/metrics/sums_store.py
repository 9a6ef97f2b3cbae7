"""Sums of evaluated images on disk, so that memory does not hold them.

They are npz archives without pickle, because others may write to the folder.
"""
import os
import os.path as osp
import shutil
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress

import numpy as np

from mbos.io.files import save_whole


def save_sums(path: str, sums: Mapping[str, Mapping[str, np.ndarray]]) -> None:
    """Write the sums of an image, by task and name."""
    arrays = {f'{task}/{name}': value for task, own in sums.items()
              for name, value in own.items()}  # yapf: disable
    save_whole(path, lambda file: np.savez(file, **arrays))


def remove_sums(folder: str) -> None:
    """Remove a folder of sums, and the one around it if that is empty."""
    shutil.rmtree(folder, ignore_errors=True)
    with suppress(OSError):
        os.rmdir(osp.dirname(folder))


class StoredSums(Sequence):
    """The sums of a test set for one task, read when they are asked for."""

    def __init__(self, paths: Iterable[str], task: str):
        self.paths, self.start = list(paths), f'{task}/'

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        path, start = self.paths[index], self.start
        try:
            with np.load(path) as archive:
                names = [n for n in archive.files if n.startswith(start)]
                return {n.removeprefix(start): archive[n] for n in names}
        except Exception as error:  # of zipfile, zlib and NumPy: many kinds
            raise ValueError(
                f'{path}: no whole archive of arrays ({error}); remove the '
                'folder, the images will be evaluated again.') from error
