"""Which files a dataset reads, and checks of them before training: each
problem names file and remedy.
"""
import json
import os.path as osp
import re
import time
import warnings
from collections import defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

from mmcv.utils import print_log
from mmseg.datasets import build_dataset
from mmseg.utils import get_root_logger
from torch.utils.data import Dataset

from mbos.io import (RefusedError, check_inside, problems_of_links,
                     problems_of_names, read_text)
from mbos.io.labels import list_names
from mbos.io.photographs import EncodedPhotograph, count_kinds
from .label_folder import PSEUDO, LabelFolder

MAX_SHOWN = 10
BULLET = '\n  - '
THREADS = 8
MANIFEST = 'manifest.json'
MAKE = ('run tools/generate_pseudo_labels.py with this config and a stage-1 '
        'checkpoint')


class DataError(ValueError):
    """What is wrong with the data: one sentence per problem, or the text of
    such an error, which mmcv's registries make anew, with names of what they
    were building in front.
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


def refuse(problems: Sequence[str]) -> None:
    """Raise one DataError for all problems, if there are any."""
    if problems:
        raise DataError(problems)


def build_members(datasets: Iterable[dict | Dataset], **defaults) -> list:
    """Build those that are configs, with one DataError for all of them."""
    built, problems = [], []
    for dataset in datasets:
        try:
            if isinstance(dataset, dict):
                dataset = build_dataset(dataset, defaults)
            built.append(dataset)
        except DataError as error:
            problems += error.problems
    refuse(problems)
    return built


def check_data(datasets: Iterable[Dataset | None], env, logger=None) -> None:
    """Read every image and mask in the first process, in which a DataError is
    raised; launchers end the others.
    """
    if env.is_main:
        start = time.time()
        check_pixels(filter(None, datasets))
        print_log(f'Data checked in {time.time() - start:.0f} s', logger)
    env.barrier()  # without a limit: large data take long to read


def check_pixels(datasets: Iterable[Dataset]) -> None:
    """Read every mask and image, an image of several datasets once."""
    masks = defaultdict(list)
    for member in (m for d in datasets for m in getattr(d, 'datasets', [d])):
        # what the truth ignores is 255 in labels that keep it
        folders = [(folder, member.allow_unlabelled
                    or osp.exists(osp.join(folder.path, MANIFEST)))
                   for folder in member.mask_folders()]
        for i, stem in enumerate(member.stems):
            masks[member.image_path(i)] += [(folder, stem, allow)
                                            for folder, allow in folders]
    with ThreadPoolExecutor(THREADS) as pool:
        found = pool.map(_problems_of_image, masks, masks.values())
        refuse([problem for problems in found for problem in problems])


def _problems_of_image(path: str, masks: Sequence[tuple]) -> list[str]:
    """Read an image, just far enough to know that it is whole, and masks."""
    try:
        photograph = EncodedPhotograph(path)
        # JPEG: an eighth of the size, but all of the file
        photograph.read(8 if photograph.can_reduce else 1)
    except RefusedError as error:
        return [f'{error} Or leave the image out by a split file.']
    found = (folder.problem(stem, photograph.layout, allow)
             for folder, stem, allow in masks)
    return list(filter(None, found))


def find_images(folder: str, suffix: str | Sequence[str]) -> dict[str, str]:
    """List the file names of the images in a folder by stem, sorted.

    Upper and lower case of suffixes are the same, and so are ``.jpg`` and
    ``.jpeg``, ``.tif`` and ``.tiff``. Of several, the longest counts.
    """
    if not osp.isdir(folder):
        raise DataError([f'{folder}: folder not found from the working '
                         'directory; prepare the dataset with python -m '
                         'prepare_dataset.<collection>, or set data_root and '
                         'img_dir.'])  # yapf: disable
    given = [suffix] if isinstance(suffix, str) else suffix
    suffixes = sorted(map(_spelling, given), key=len, reverse=True)
    images, others, problems = {}, [], []
    for name in list_names(folder):
        spelling = _spelling(name)
        end = next(filter(spelling.endswith, suffixes), spelling)
        stem = name[:len(spelling) - len(end)]
        if not stem:
            others.append(name)
        elif images.setdefault(stem, name) != name:
            problems.append(
                f'{osp.join(folder, images[stem])}: has the same stem as '
                f'{name}; keep one of them, or name one img_suffix only.')
    left_out = count_kinds(others)
    if not images:
        problems.append(f'{folder}: no image with suffix {suffix!r}, but '
                        f'{left_out or "no file at all"}; set img_suffix or '
                        'img_dir, or prepare the dataset first.')
    refuse(problems)
    if left_out:
        get_root_logger().warning(f'{folder}: left out are {left_out}; set '
                                  'img_suffix if they are to be used.')
    return dict(sorted(images.items()))


def _spelling(name: str) -> str:
    """A name in lower case, .jpeg as .jpg and .tiff as .tif."""
    return re.sub(r'(?<=\.jp)e(?=g$)|(?<=\.tif)f$', '', name.lower())


def read_split(path: str, images: dict[str, str],
               data_root: str | None) -> dict[str, str]:
    """Choose the images that a split file names: a stem or file name per line.

    ``images`` are file names by stem, and so is what returns, sorted.
    """
    try:
        if data_root:
            check_inside(data_root, path)
        lines = [line.strip() for line in read_text(path).splitlines()]
    except (OSError, ValueError) as error:
        raise DataError([f'{path}: split file cannot be read ({error}); write '
                         'one image stem per line, or leave split out.'
                         ]) from error  # yapf: disable
    by_name = {name: stem for stem, name in images.items()}
    chosen = sorted({by_name.get(line, line) for line in lines if line})
    unknown = [stem for stem in chosen if stem not in images]
    refuse([f'{path}: {stem!r} is not an image of the image folder; correct '
            'or remove the line.' for stem in unknown])  # yapf: disable
    if not chosen:
        raise DataError([f'{path}: the split file is empty.'])
    return {stem: images[stem] for stem in chosen}


def problems_of_files(dataset) -> list[str]:
    """What is wrong with the folders and lists of files of a dataset."""
    found = []
    folders, stems = dataset.mask_folders(), dataset.stems
    for place in [dataset.img_dir, *(folder.path for folder in folders)]:
        if osp.isdir(place):
            found += problems_of_names(place)
            found += problems_of_links(dataset.data_root or place, place)
    for folder in folders:
        missing = [stem for stem in stems if not osp.isfile(folder.file(stem))]
        remedy = MAKE if folder.kind == PSEUDO else 'prepare the dataset again'
        if missing:
            found.append(
                f'{folder.path}: {len(missing)} of {len(stems)} masks are '
                f'missing ({folder.kind}, {folder.task.name}), such as '
                f'{missing[0]}{folder.suffix}; {remedy}, or correct the '
                'config.')
        if folder.kind == PSEUDO:
            found += _problems_of_manifest(folder, stems)
    return found


def read_manifest(folder: str) -> dict | None:
    """What is noted of the labels in a folder, None without a manifest."""
    path = osp.join(folder, MANIFEST)
    return dict(json.loads(read_text(path))) if osp.exists(path) else None


def _problems_of_manifest(folder: LabelFolder,
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
    except Exception as error:  # a damaged file may provoke any of them
        return [f'{path}: is not a manifest ({error!r}); {MAKE}.']
    wanted = folder.task.name, list(folder.classes)
    problem = (f'{path}: made for {made_for} and without {len(missing)} of '
               f'the {len(stems)} images, but the config reads {wanted}; '
               f'{MAKE}, or correct pseudo_dirs.')
    return [problem] if missing or made_for != wanted else []
