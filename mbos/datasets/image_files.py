"""The images of a dataset: which files of a folder, and which are left out."""
import logging
import os
import os.path as osp
from collections.abc import Sequence

from mmcv.utils import print_log
from mmseg.utils import get_root_logger

from mbos.io import read_text
from mbos.io.labels import as_suffixes, list_names, stems_of
from mbos.io.photographs import count_kinds, is_photograph_name
from .checks import DataError


def find_images(folder: str, suffix, data_root: str | None):
    """List the file names of the images in a folder by stem, sorted.

    Upper and lower case of suffixes are the same, and so are ``.jpg`` and
    ``.jpeg``, ``.tif`` and ``.tiff``. Where ``data_root``, the parent, is
    missing, that is reported instead of the folder.

    Raises:
        DataError: If the folder is missing or has no such image, or two
            images have the same stem.
    """
    if data_root is not None and not osp.isdir(data_root):
        raise DataError([
            f'{data_root}: data root not found; prepare the dataset with '
            'python -m prepare_dataset.<collection>, or set data_root '
            '(relative to the working directory).'
        ])
    if not osp.isdir(folder):
        raise DataError([
            f'{folder}: image folder not found; prepare the dataset with '
            'python -m prepare_dataset.<collection>, or set img_dir.'
        ])
    suffixes = _with_synonyms(as_suffixes(suffix))
    names = list_names(folder)
    stems = stems_of(names, suffixes)
    if not stems:
        raise DataError([_no_image(folder, as_suffixes(suffix), names)])
    _report_left_out(folder, names, stems)
    twice = [files for files in stems.values() if len(files) > 1]
    if twice:
        raise DataError([
            f'{osp.join(folder, files[0])}: has the same stem as {files[1]}; '
            'keep one of them, or name one img_suffix only.' for files in twice
        ])
    return {stem: stems[stem][0] for stem in sorted(stems)}


def _with_synonyms(suffixes: Sequence[str]) -> list[str]:
    """Suffixes, and others that mean the same format."""
    found = dict.fromkeys(suffixes)
    for suffix in suffixes:
        for synonyms in (('.jpg', '.jpeg'), ('.tif', '.tiff')):
            for known in synonyms:
                if suffix.lower().endswith(known):
                    start = suffix[:-len(known)]
                    found.update(dict.fromkeys(start + s for s in synonyms))
    return sorted(found, key=len, reverse=True)


def _report_left_out(folder: str, names: Sequence[str],
                     stems: dict[str, list[str]]) -> None:
    """Say which files of a folder are not taken for images."""
    taken = {name for files in stems.values() for name in files}
    text = count_kinds(name for name in names if name not in taken)
    below = _images_below(folder)
    if below:
        text += f'{", " if text else ""}{below[1]} image(s) in {below[0]}'
    if text:
        print_log(
            f'{folder}: left out are {text}; set img_suffix, or img_dir to '
            'the folder below, if they are to be used.',
            logger=get_root_logger(),
            level=logging.WARNING)


def _images_below(folder: str) -> tuple[str, int] | None:
    """The first folder below that has images, and how many are below."""
    first, count = '', 0
    for base, folders, files in os.walk(folder):
        folders[:] = sorted(f for f in folders if not f.startswith('.'))
        images = [f for f in files if is_photograph_name(f)]
        if base != folder and images:
            first = first or base
            count += len(images)
    return (first, count) if count else None


def _no_image(folder, suffixes, names) -> str:
    wanted = ' or '.join(repr(s) for s in suffixes)
    below = _images_below(folder)
    if below and not names:
        return (f'{folder}: holds no image itself, but {below[1]} in folders '
                f'below, such as {below[0]}; set img_dir to one of them, or '
                'put them together with python -m prepare_dataset.folder.')
    if not names:
        return (f'{folder}: the folder is empty, expected images with suffix '
                f'{wanted}; prepare the dataset first.')
    there = sorted({osp.splitext(name)[1] or name for name in names})
    shown = ', '.join(repr(s) for s in there[:8])
    return (f'{folder}: no image with suffix {wanted}, but {len(names)} '
            f'file(s) with {shown}; set img_suffix accordingly.')


def read_split(path: str, images: dict[str, str]) -> dict[str, str]:
    """Choose the images that a split file names: a stem or file name per line.

    ``images`` are file names by stem, and so is what returns, sorted.

    Raises:
        DataError: If the file is missing, or names no image or a wrong one.
    """
    try:
        lines = [line.strip() for line in read_text(path).splitlines()]
    except (OSError, ValueError) as error:
        raise DataError([
            f'{path}: split file cannot be read ({error}); write one image '
            'stem per line, or leave split out.'
        ]) from error
    by_name = {name: stem for stem, name in images.items()}
    chosen = {}
    problems = []
    for number, line in enumerate(lines, 1):
        stem = by_name.get(line, line)
        if not line:
            continue
        if stem not in images:
            problems.append(f'{path}:{number}: {line!r} is not an image of '
                            'the image folder; correct or remove the line.')
        elif stem in chosen:
            problems.append(f'{path}:{number}: {line!r} is listed twice; '
                            'remove one of the lines.')
        else:
            chosen[stem] = images[stem]
    if not chosen and not problems:
        problems.append(f'{path}: the split file names no image; write one '
                        'image stem per line.')
    if problems:
        raise DataError(problems)
    return {stem: chosen[stem] for stem in sorted(chosen)}
