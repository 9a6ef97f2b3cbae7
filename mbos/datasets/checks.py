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
from torch.utils.data import Dataset

from mbos.io import (RefusedError, problems_of_links, problems_of_names,
                     read_text)
from mbos.io.photographs import EncodedPhotograph, Layout
from .label_folder import PSEUDO, LabelFolder

MAX_SHOWN = 10
BULLET = '\n  - '
THREADS = 8
MANIFEST = 'manifest.json'
MAKE = ('run tools/generate_pseudo_labels.py with this config and a stage-1 '
        'checkpoint')


class DataError(ValueError):
    """What is wrong with the data, with file names and remedies.

    Made of one sentence per problem, or of the text of such an error: mmcv's
    registries make it anew, with names of what they were building in front.
    """

    def __init__(self, problems: str | Sequence[str]):
        if not isinstance(problems, str):
            problems = list(dict.fromkeys(problems))
            count = len(problems)
            more = f', the first {MAX_SHOWN}' if count > MAX_SHOWN else ''
            head = f'{count} problem(s) with the data{more}:'
            problems = BULLET.join([head, *problems[:MAX_SHOWN]])
        super().__init__(re.sub(r'^(\w+: )+(?=\d+ problem)', '', problems))

    @property
    def problems(self) -> list[str]:
        """The sentences that are shown."""
        return str(self).split(BULLET)[1:]


class Checked:
    """What single datasets share with those of several ``datasets``."""

    def problems(self, full: bool = True) -> list[str]:
        """Collect what is wrong with the files, one sentence per problem.

        ``full`` reads every image and mask, an image of several datasets once.
        """
        members = getattr(self, 'datasets', [self])
        found = [p for member in members for p in member.missing_files()]
        return found + (_problems_of_pixels(members) if full else [])

    def check(self, full: bool = True) -> None:
        """Raise one DataError for all problems."""
        problems = self.problems(full)
        if problems:
            raise DataError(problems)


def build_members(datasets: Iterable[dict | Dataset], **defaults) -> list:
    """Build datasets from their configs; others pass as they are. One
    DataError says what is missing of any of them.
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
    """Check datasets in the first process, before training.

    A DataError there says what is wrong; launchers end the other processes.
    With ``full=False`` images and masks are not read.
    """
    if env.is_main:
        start = time.time()
        for dataset in datasets:
            if dataset is not None:
                dataset.check(full)
        print_log(f'Data checked in {time.time() - start:.0f} s', logger)
    env.barrier()  # without a limit: large data take long to read


def problems_of_place(folder: str, root: str | None) -> list[str]:
    """Look for links out of the data root and for unprintable names."""
    if not osp.isdir(folder):
        return []
    links = problems_of_links(root or folder, folder)
    return problems_of_names(folder) + links


def problems_of_folder(folder: LabelFolder, stems: Sequence[str]) -> list[str]:
    """Find images without a mask."""
    missing = [stem for stem in stems if not osp.isfile(folder.file(stem))]
    remedy = MAKE if folder.kind == PSEUDO else 'prepare the dataset again'
    return [
        f'{folder.path}: {len(missing)} of {len(stems)} masks are missing '
        f'({folder.kind}, {folder.task.name}), such as {missing[0]}'
        f'{folder.suffix}; {remedy}, or correct the config.'
    ] if missing else []


def read_manifest(folder: str) -> dict | None:
    """What is noted of the labels in a folder, None without a manifest."""
    path = osp.join(folder, MANIFEST)
    return json.loads(read_text(path)) if osp.exists(path) else None


def problems_of_manifest(folder: LabelFolder,
                         stems: Sequence[str]) -> list[str]:
    """Check that pseudo labels were made for this use of their folder."""
    path = osp.join(folder.path, MANIFEST)
    try:
        manifest = read_manifest(folder.path)
        if manifest is None:
            warnings.warn(f'{path} not found, so it is unknown which '
                          'checkpoint made these pseudo labels.')
            return []
        classes = manifest.get('classes') or folder.task.classes
        made_for = manifest['task'], list(classes)
        missing = set(stems) - set(map(str, manifest['images']))
    except (OSError, ValueError, KeyError, TypeError, AttributeError,
            RecursionError) as error:
        return [f'{path}: is not a manifest ({error!r}); {MAKE}.']
    wanted = folder.task.name, list(folder.classes)
    if made_for == wanted and not missing:
        return []
    return [
        f'{path}: made for {made_for} and without {len(missing)} of the '
        f'{len(stems)} images, but the config reads {wanted}; {MAKE}, or '
        'correct pseudo_dirs.'
    ]


def _problems_of_pixels(members: Sequence) -> list[str]:
    """Read every image and every mask."""
    paths = {m.image_path(i): None for m in members for i in range(len(m))}
    layouts = dict(zip(paths, _in_threads(_probe, paths)))
    masks = [(folder, stem, layouts[image], allow_unlabelled)
             for member in members
             for image, folder, stem, allow_unlabelled in member.masks()
             if isinstance(layouts[image], Layout)]
    found = [*layouts.values()]
    found += _in_threads(lambda mask: LabelFolder.problem(*mask), masks)
    return [problem for problem in found if isinstance(problem, str)]


def _probe(path: str) -> Layout | str:
    """How an image is stored, or what is wrong with it: decoded just far
    enough to know that it is whole.
    """
    try:
        photograph = EncodedPhotograph(path)
        # JPEG: an eighth of the size, but all of the file
        photograph.decode(8 if photograph.can_reduce else 1)
    except RefusedError as error:
        return f'{error} Or leave the image out by a split file.'
    return photograph.layout


def _in_threads(function: Callable, items: Iterable) -> list:
    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(function, items))
