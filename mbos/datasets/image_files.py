"""Which files of a folder a dataset reads, and which are missing."""
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

SYNONYMS = (('.jpg', '.jpeg'), ('.jpeg', '.jpg'), ('.tif', '.tiff'), ('.tiff',
                                                                      '.tif'))


def find_images(folder: str, suffix: str | Sequence[str],
                data_root: str | None) -> dict[str, str]:
    """List the file names of the images in a folder by stem, sorted.

    Upper and lower case of suffixes are the same, and so are ``.jpg`` and
    ``.jpeg``, ``.tif`` and ``.tiff``.

    Raises:
        DataError: If the folder is missing or has no such image, or two
            images have the same stem.
    """
    for place, key in ((data_root, 'data_root'), (folder, 'img_dir')):
        if place is not None and not osp.isdir(place):
            raise DataError([
                f'{place}: folder not found from the working directory; '
                'prepare the dataset with python -m '
                f'prepare_dataset.<collection>, or set {key}.'
            ])
    names = list_names(folder)
    stems = stems_of(names, _with_synonyms(as_suffixes(suffix)))
    taken = {name for files in stems.values() for name in files}
    others = _others(folder, [name for name in names if name not in taken])
    if not stems:
        raise DataError([
            f'{folder}: no image with suffix {suffix!r}, but '
            f'{others or "no file at all"}; set img_suffix or img_dir, or '
            'prepare the dataset first.'
        ])
    if others:
        print_log(
            f'{folder}: left out are {others}; set img_suffix, or img_dir to '
            'the folder below, if they are to be used.',
            logger=get_root_logger(),
            level=logging.WARNING)
    twice = [files for files in stems.values() if len(files) > 1]
    if twice:
        raise DataError([
            f'{osp.join(folder, files[0])}: has the same stem as {files[1]}; '
            'keep one of them, or name one img_suffix only.' for files in twice
        ])
    return {stem: stems[stem][0] for stem in sorted(stems)}


def _with_synonyms(suffixes: Sequence[str]) -> list[str]:
    """Suffixes, and others that mean the same format; the longest first."""
    found = set(suffixes)
    for suffix in suffixes:
        for known, other in SYNONYMS:
            if suffix.lower().endswith(known):
                found.add(suffix[:-len(known)] + other)
    return as_suffixes(sorted(found))


def _others(folder: str, names: Sequence[str]) -> str:
    """Describe files that are no images, and images in folders below."""
    found = [count_kinds(names)] if names else []
    for base, folders, files in os.walk(folder):
        folders[:] = sorted(f for f in folders if not f.startswith('.'))
        images = [f for f in files if is_photograph_name(f)]
        if base != folder and images:
            found.append(f'{len(images)} image(s) in {base}')
    return ', '.join(found[:3])


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
    chosen = {by_name.get(line, line) for line in lines if line}
    problems = [
        f'{path}: {stem!r} is not an image of the image folder; correct or '
        'remove the line.' for stem in sorted(chosen - set(images))
    ]
    if not chosen:
        problems = [f'{path}: the split file names no image.']
    if problems:
        raise DataError(problems)
    return {stem: images[stem] for stem in sorted(chosen)}


def problems_of_folder(folder: str, stems: Sequence[str], suffix: str,
                       what: str, remedy: str) -> list[str]:
    """Find images without a mask; ``what`` is the masks' name in messages."""
    if not osp.isdir(folder):
        return [f'{folder}: {what} folder not found; {remedy}.']
    names = set(list_names(folder))
    missing = [stem for stem in stems if stem + suffix not in names]
    if len(missing) == len(stems):
        return [
            f'{folder}: no {what} for any of the {len(stems)} images: '
            f'expected <stem>{suffix}, found '
            f'{count_kinds(names) or "no file at all"}; {remedy}.'
        ]
    return [
        f'{osp.join(folder, stem + suffix)}: {what} of image {stem!r} is '
        f'missing; {remedy}.' for stem in missing
    ]
