"""Which files of a folder a dataset reads."""
import logging
import os.path as osp
import re
from collections.abc import Sequence

from mmcv.utils import print_log
from mmseg.utils import get_root_logger

from mbos.io import check_inside, read_text
from mbos.io.labels import list_names
from mbos.io.photographs import count_kinds
from .checks import DataError


def find_images(folder: str, suffix: str | Sequence[str],
                data_root: str | None) -> dict[str, str]:
    """List the file names of the images in a folder by stem, sorted.

    Upper and lower case of suffixes are the same, and so are ``.jpg`` and
    ``.jpeg``, ``.tif`` and ``.tiff``. Of several, the longest counts. A
    DataError says if there is no image, or if two have the same stem.
    """
    for place, key in ((data_root, 'data_root'), (folder, 'img_dir')):
        if place is not None and not osp.isdir(place):
            raise DataError([
                f'{place}: folder not found from the working directory; '
                'prepare the dataset with python -m '
                f'prepare_dataset.<collection>, or set {key}.'
            ])
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
    if problems:
        raise DataError(problems)
    if left_out:
        print_log(
            f'{folder}: left out are {left_out}; set img_suffix if they are '
            'to be used.', get_root_logger(), logging.WARNING)
    return dict(sorted(images.items()))


def _spelling(name: str) -> str:
    """A name in lower case, .jpeg as .jpg and .tiff as .tif."""
    return re.sub(r'(?<=\.jp)e(?=g$)|(?<=\.tif)f$', '', name.lower())


def read_split(path: str, images: dict[str, str],
               data_root: str | None) -> dict[str, str]:
    """Choose the images that a split file names: a stem or file name per line.

    ``images`` are file names by stem, and so is what returns, sorted. A
    DataError says if the file is missing, or names no image or a wrong one.
    """
    try:
        if data_root:
            check_inside(data_root, path)
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
    if problems or not chosen:
        raise DataError(problems or [f'{path}: the split file is empty.'])
    return {stem: images[stem] for stem in sorted(chosen)}
