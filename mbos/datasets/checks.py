"""Checks of the data before training: each problem names file and remedy."""
import json
import os.path as osp
import re
import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

from mmcv.utils import print_log
from mmseg.datasets import build_dataset
from PIL import Image
from torch.utils.data import Dataset

from mbos.io import (RefusedError, check_inside, problems_of_links,
                     problems_of_names, read_text)
from mbos.io.labels import read_labels
from mbos.io.photographs import EncodedPhotograph, Layout
from .label_folder import LabelFolder

MAX_SHOWN = 10
BULLET = '\n  - '
THREADS = 8
MANIFEST = 'manifest.json'
MANIFEST_KEYS = {
    'task', 'checkpoint', 'checkpoint_sha256', 'config', 'threshold', 'images'
}
MAKE_AGAIN = 'run tools/generate_pseudo_labels.py again'


class DataError(ValueError):
    """What is wrong with the data, with file names and remedies.

    ``problems`` is one sentence per problem, or the text of such an error.
    """

    def __init__(self, problems: str | Sequence[str]):
        if isinstance(problems, str):
            # mmcv's registries make an error anew from its text, with the
            # names of the classes they were building in front
            text = re.sub(r'^(\w+: )+(?=\d+ problem)', '', problems)
            self.problems = text.split(BULLET)[1:] or [text]
        else:
            self.problems = list(dict.fromkeys(problems))
            count = len(self.problems)
            more = f', the first {MAX_SHOWN}' if count > MAX_SHOWN else ''
            text = BULLET.join([
                f'{count} problem(s) with the data{more}:',
                *self.problems[:MAX_SHOWN]
            ])
        super().__init__(text)


class Checked:
    """What datasets share that list their ``problems(full)``."""

    def check(self, full: bool = True) -> None:
        """Check the data before training; ``full`` reads every file.

        Raises:
            DataError: One error for everything that was found.
        """
        problems = self.problems(full)
        if problems:
            raise DataError(problems)


def build_members(datasets: Iterable[dict | Dataset], **defaults) -> list:
    """Build datasets from their configs; others pass as they are.

    Raises:
        DataError: One error for what is missing of any of them.
    """
    built, problems = [], []
    for dataset in datasets:
        try:
            if isinstance(dataset, dict):
                dataset = build_dataset(dataset, defaults)
            built.append(dataset)
        except DataError as error:
            problems += error.problems
    if problems:
        raise DataError(problems)
    return built


def check_data(datasets: Iterable[Checked | None],
               env,
               logger=None,
               full: bool = True) -> None:
    """Read every mask and image once, in the first process.

    With ``full=False`` only look whether the files are there.

    Raises:
        DataError: In the first process; launchers end the others.
    """
    if env.is_main:
        start = time.time()
        for dataset in datasets:
            if dataset is not None:
                dataset.check(full)
        print_log(f'Data checked in {time.time() - start:.0f} s', logger)
    env.barrier()  # without a limit: large data take long to read


def problems_of_places(root: str | None, folders: Iterable[str],
                       split: str | None) -> list[str]:
    """Look for links out of the data root and for unprintable names."""
    found = []
    # a missing folder is reported elsewhere
    for folder in filter(osp.isdir, folders):
        found += problems_of_names(folder)
        found += problems_of_links(root or folder, folder)
    if split is not None and root:
        try:
            check_inside(root, split)
        except RefusedError as error:
            found.append(str(error))
    return found


def read_manifest(folder: str) -> dict | None:
    """Read the manifest of a pseudo-label folder, None where it has none.

    Raises:
        DataError: If it is there but cannot be used.
    """
    path = osp.join(folder, MANIFEST)
    if not osp.exists(path):
        return None
    try:
        manifest = json.loads(read_text(path))
        if not isinstance(manifest, dict) or MANIFEST_KEYS - set(
                manifest) or not isinstance(manifest['images'], list):
            raise ValueError(f'expected {", ".join(sorted(MANIFEST_KEYS))}')
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(
            [f'{path}: is not a manifest ({error}); {MAKE_AGAIN}.']) from error
    return manifest


def problems_of_manifest(folder: LabelFolder,
                         stems: Sequence[str]) -> list[str]:
    """Check that pseudo labels were made for this use of their folder."""
    path = osp.join(folder.path, MANIFEST)
    try:
        manifest = read_manifest(folder.path)
    except DataError as error:
        return error.problems
    if manifest is None:
        warnings.warn(f'{path} not found, so it is unknown which checkpoint '
                      'made these pseudo labels.')
        return []
    made_for = manifest['task'], manifest.get('classes') or [
        *folder.task.classes
    ]
    wanted = folder.task.name, [*folder.classes]
    if made_for != wanted:
        return [
            f'{path}: made for {made_for}, but the config reads {wanted}; '
            f'correct pseudo_dirs, or {MAKE_AGAIN}.'
        ]
    unlisted = sorted(set(stems) - set(map(str, manifest['images'])))
    return [
        f'{path}: does not list {len(unlisted)} of {len(stems)} images, '
        f'e.g. {unlisted[0]!r}; {MAKE_AGAIN}.'
    ] if unlisted else []


def probe_image(path: str) -> tuple[Layout | None, list[str]]:
    """Decode an image far enough to know that it is whole.

    Returns how it is stored, or None, and the problems.
    """
    try:
        photograph = EncodedPhotograph(path)
        # JPEG: an eighth of the size, but all of the file
        photograph.decode(8 if photograph.can_reduce else 1)
    except RefusedError as error:
        return None, [f'{error} Or leave the image out by a split file.']
    return photograph.layout, []


def problems_of_mask(path: str, folder: LabelFolder | None,
                     layout: Layout | None,
                     allow_unlabelled: bool) -> list[str]:
    """Check mode, size and values of one mask.

    Without a folder any value is good; without a layout, any size.
    """
    try:
        labels = read_labels(path)
    except ValueError as error:
        return [str(error)]
    if layout and labels.shape not in (layout.shape, layout.stored):
        return [
            f'{path}: the mask has shape {labels.shape}, its image '
            f'{layout.shape} (height, width); prepare both with the same crop.'
        ]
    if folder is None:
        return []
    counts = Image.fromarray(labels).histogram()  # faster than NumPy
    values = [value for value, count in enumerate(counts) if count]
    problem = folder.problem_of_values(values, allow_unlabelled)
    return [f'{path}: {problem}'] if problem else []


def run_in_threads(function: Callable, *columns: Iterable) -> list:
    """What a function returns for each row of the columns, in order."""
    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(function, *columns))
