"""Checks of the data before training: each problem names file and remedy."""
import json
import os.path as osp
import re
import time
import warnings
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

import torch.distributed as dist
from mmcv.utils import print_log
from mmseg.datasets import build_dataset
from torch.utils.data import Dataset

from mbos.io import (RefusedError, check_inside, open_image, problems_of_links,
                     problems_of_names, read_text)
from mbos.io.labels import (LABEL_MODES, list_names, multi_channel_message,
                            stems_of)
from mbos.io.photographs import EncodedPhotograph, Layout
from .label_folder import LabelFolder

MAX_SHOWN = 10
BULLET = '\n  - '
THREADS = 8
MANIFEST = 'manifest.json'
MANIFEST_KEYS = ('task', 'checkpoint', 'checkpoint_sha256', 'config',
                 'threshold', 'images')


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
            super().__init__(text)
            return
        self.problems = list(problems)
        count = len(self.problems)
        head = (f'{count} problem{"" if count == 1 else "s"} with the data' +
                (f', the first {MAX_SHOWN}:' if count > MAX_SHOWN else ':'))
        super().__init__(BULLET.join([head, *self.problems[:MAX_SHOWN]]))

    def __reduce__(self):
        # errors travel between worker processes as pickles
        return DataError, (self.problems, )


def build_members(datasets: Iterable[dict | Dataset], **defaults) -> list:
    """Build datasets from their configs; others pass as they are.

    Raises:
        DataError: One error for what is missing of any of them.
    """
    built, problems = [], []
    for dataset in datasets:
        try:
            built.append(
                build_dataset(dataset, defaults) if isinstance(dataset, dict
                                                               ) else dataset)
        except DataError as error:
            problems += error.problems
    if problems:
        raise DataError(problems)
    return built


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


def check_data(datasets, env, logger=None, full: bool = True) -> None:
    """Read every mask and image once, in the first process.

    With ``full=False`` only look whether the files are there.

    Raises:
        DataError: In the first process; the others end with it.
    """
    start = time.time()
    problem = None
    if env.is_main:
        try:
            for dataset in datasets:
                if dataset is not None:
                    dataset.check(full)
        except ValueError as error:
            problem = error
    env.barrier()  # without a limit: large data take long to read
    if env.distributed:
        found = [problem is not None]
        dist.broadcast_object_list(found, src=0)
        if found[0] and problem is None:
            raise SystemExit(1)  # the first process says why
    if problem is not None:
        raise problem
    if env.is_main:
        print_log(f'Data checked in {time.time() - start:.0f} s', logger)


def problems_of_places(root: str | None, folders: Sequence[str],
                       split: str | None) -> list[str]:
    """Look for links out of the data root and for unprintable names."""
    found = []
    # a missing folder is reported elsewhere
    for folder in dict.fromkeys(f for f in folders if osp.isdir(f)):
        found += problems_of_names(folder)
        found += problems_of_links(root or folder, folder)
    if split is not None and root:
        try:
            check_inside(root, split)
        except RefusedError as error:
            found.append(str(error))
    return found


def problems_of_folder(stems: Sequence[str],
                       folder: str,
                       suffix: str,
                       what: str,
                       reverse: bool = True) -> list[str]:
    """Find images without a mask; with ``reverse``, masks without an image.

    ``what`` is the name of the masks in messages, with the remedy after a
    semicolon.
    """
    noun, _, remedy = what.partition('; ')
    if not osp.isdir(folder):
        return [f'{folder}: {noun} folder not found; {remedy}.']
    names = set(list_names(folder))
    in_lower_case = {name.lower(): name for name in names}
    problems = []
    for stem in stems:
        if stem + suffix in names:
            continue
        path = osp.join(folder, stem + suffix)
        other = in_lower_case.get((stem + suffix).lower())
        problems.append(f'{path}: {noun} of image {stem!r} is missing; ' + (
            f'{other} is there: rename it.' if other else f'{remedy}.'))
    if problems and len(problems) == len(stems):
        there = sorted({osp.splitext(name)[1] or name for name in names})
        shown = ', '.join(repr(s) for s in there[:8]) or 'no file at all'
        return [
            f'{folder}: no {noun} for any of the {len(stems)} images: '
            f'expected <stem>{suffix}, found {shown}; {remedy}, or set the '
            'suffix.'
        ]
    if reverse:
        extra = set(stems_of(sorted(names), [suffix])) - set(stems)
        problems += [
            f'{osp.join(folder, stem + suffix)}: {noun} without an image; '
            'add the image, remove the file, or name the images to use in a '
            'split file.' for stem in sorted(extra)
        ]
    return problems


def read_manifest(folder: str) -> dict | None:
    """Read the manifest of a pseudo-label folder, None where it has none.

    Raises:
        DataError: If it is there but cannot be used.
    """
    path = osp.join(folder, MANIFEST)
    if not osp.exists(path):
        return None
    remedy = 'run tools/generate_pseudo_labels.py again'
    try:
        manifest = json.loads(read_text(path))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError([f'{path}: cannot be read ({error}); {remedy}.'
                         ]) from error
    missing = [
        key for key in MANIFEST_KEYS
        if not isinstance(manifest, dict) or key not in manifest
    ]
    if missing or not isinstance(manifest['images'], list):
        raise DataError([
            f'{path}: is not a manifest, lacking {missing or "a list of"} '
            f'{"" if missing else "images"}; {remedy}.'
        ])
    return manifest


def problems_of_pseudo(stems: Sequence[str],
                       labels: LabelFolder,
                       suffix: str,
                       sha256: str | None = None) -> list[str]:
    """Check a folder of pseudo labels of the images, and its manifest.

    ``sha256`` is the hash of the checkpoint that must have made them.
    """
    folder, task = labels.path, labels.task.name
    what = (f'pseudo label ({task}); run tools/generate_pseudo_labels.py '
            'with this config and a stage-1 checkpoint')
    problems = problems_of_folder(stems, folder, suffix, what, reverse=False)
    if not osp.isdir(folder):
        return problems
    try:
        manifest = read_manifest(folder)
    except DataError as error:
        return problems + error.problems
    path = osp.join(folder, MANIFEST)
    if manifest is None:
        warnings.warn(f'{folder}: pseudo labels without {MANIFEST}, so it is '
                      'unknown which checkpoint made them.')
        return problems
    if manifest['task'] != task:
        problems.append(
            f'{path}: made for task {manifest["task"]!r}, but the config '
            f'reads the folder for {task!r}; correct pseudo_dirs.')
    made_for = manifest.get('classes') or labels.task.classes
    if manifest['task'] == task and set(made_for) != set(labels.classes):
        problems.append(
            f'{path}: made for the classes {", ".join(map(str, made_for))}, '
            f'but the config reads {", ".join(labels.classes)}; correct '
            '`classes` in pseudo_dirs, or make the pseudo labels again.')
    unlisted = sorted(set(stems) - set(map(str, manifest['images'])))
    if unlisted and not problems:
        problems.append(
            f'{path}: does not list {len(unlisted)} of {len(stems)} images, '
            f'e.g. {unlisted[0]!r}; the run that made the labels was not '
            'finished or saw other images: run '
            'tools/generate_pseudo_labels.py again.')
    if sha256 is not None and manifest['checkpoint_sha256'] != sha256:
        problems.append(
            f'{path}: made by checkpoint {manifest["checkpoint"]} (sha256 '
            f'{str(manifest["checkpoint_sha256"])[:12]}...), expected sha256 '
            f'{sha256[:12]}...; make the pseudo labels again.')
    return problems


def problems_of_checkpoints(manifests: dict[str, dict]) -> list[str]:
    """Find pseudo-label folders of one run made by different checkpoints."""
    folders = sorted(manifests)
    return [
        f'{osp.join(folder, MANIFEST)}: made by checkpoint '
        f'{manifests[folder]["checkpoint"]}, but {folders[0]} by '
        f'{manifests[folders[0]]["checkpoint"]} (their sha256 differ); make '
        'all pseudo labels of a run with one checkpoint.'
        for folder in folders[1:] if manifests[folder]['checkpoint_sha256'] !=
        manifests[folders[0]]['checkpoint_sha256']
    ]


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
        with open_image(path) as image:
            if image.mode not in LABEL_MODES:
                return [multi_channel_message(path, image.mode)]
            if layout is not None and image.size[::-1] not in (layout.shape,
                                                               layout.stored):
                height, width = layout.shape
                return [
                    f'{path}: the mask is {image.size[0]}x{image.size[1]}, '
                    f'its image {width}x{height} (width x height); prepare '
                    'image and mask with the same crop.'
                ]
            counts = image.histogram()
            if image.mode == '1':  # Pillow stores its ones as 255
                counts[1], counts[255] = counts[255], 0
    except RefusedError as error:
        return [str(error)]
    except Exception as error:  # a damaged file may provoke any of them
        return [
            f'{path}: the mask cannot be read ({error}); copy or prepare it '
            'again.'
        ]
    if folder is None:
        return []
    values = [value for value, count in enumerate(counts) if count]
    problem = folder.problem_of_values(values, allow_unlabelled)
    return [f'{path}: {problem}'] if problem else []


def run_in_threads(function, jobs: Sequence[tuple]) -> list:
    """Call a function with each tuple of arguments, in threads, in order."""
    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(lambda job: function(*job), jobs))
