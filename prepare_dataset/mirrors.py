"""Other trees in which copies of a collection circulate.

Copies are renamed, flattened and converted: ``train/Images`` instead of
``Training400``, ``masks`` instead of ``Disc_Cup_Masks``, PNG instead of BMP.
"""
import os
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from .layout import IMAGE_SUFFIXES, Files, Found, taken, visible_files

SPLITS = dict(
    train=('train', 'training', 'train_set', 'training_set'),
    val=('val', 'valid', 'validation', 'validation_set'),
    test=('test', 'testing', 'test_set', 'testing_set'))
IMAGES = ('images', 'image', 'img', 'imgs', 'original', 'fundus', 'photos')
MASKS = ('masks', 'mask', 'label', 'labels', 'segmentation label',
         'segmentation_label', 'annotations', 'annotation', 'ann', 'gt', 'gts',
         'groundtruth', 'ground_truth', 'ground truth')
"""tuple[str]: Folders of masks, in lower case."""
MASK_WORDS = re.compile(
    r'mask|label|annot|(^|[\W_])gts?([\W_]|$)|ground|truth|manual|segment|'
    r'vessel|markup_', re.IGNORECASE)
"""re.Pattern: What a folder of masks is called."""
MASK_ENDING = re.compile(
    r'[-_ ](masks?|gts?|seg|segmentation|labels?|annotation|groundtruth|'
    r'ground_truth|vessels?|manual1?|disc_?cup)$', re.IGNORECASE)
"""re.Pattern: What names of masks have behind those of photographs."""
DERIVED = re.compile(r'crop|square|resiz|disc_?fovea|overlay', re.IGNORECASE)
"""re.Pattern: Folders of pictures that were made of the photographs."""
JPEG = ('.jpg', '.jpeg')
MAX_LINES = 16


def endings_of_split(
    split: str, kinds: Sequence[str],
    below: Sequence[str] = ('', )) -> list[str]:
    """Endings of a split's folder by the names that copies give it, such as
    ``train/images`` or ``images/train``.

    ``kinds`` are what the folder of such files may be called, as
    :data:`IMAGES`, ``below`` the names of a folder in it.
    """
    endings = []
    for name in SPLITS[split]:
        for kind in kinds:
            for last in below:
                end = f'/{last}' if last else ''
                endings += [f'{name}/{kind}{end}', f'{kind}/{name}{end}']
                endings += [f'{kind}{end}/{name}'] if last else []
    return endings


def files_by_name(raw: Path, found: Found,
                  key: Callable[[str], str | None]) -> tuple[Files, Files]:
    """Find photographs and masks wherever they are, by name.

    A mask is a file in a folder that is called like one, a BMP, a file called
    like its photograph and ``_mask``, or one beside the JPEG of its name;
    pictures that others made of the photographs are left out. ``found`` gets
    a problem for every second file of one name; ``key`` turns a file's stem
    into the name to list it under, or None to leave it out.
    """
    photographs: Files = {}
    masks: Files = {}
    for path, folders in _images_below(raw, found):
        bare = MASK_ENDING.sub('', path.stem)
        name = key(bare)
        if name is None or any(map(DERIVED.search, folders)):
            continue
        is_mask = bare != path.stem or _is_mask(path, folders)
        files = masks if is_mask else photographs
        other = files.setdefault(name, path)
        jpegs = [p for p in (other, path) if p.suffix.lower() in JPEG]
        if other == path:
            continue
        # of two in one folder the JPEG is the photograph
        if (not is_mask and name not in masks and other.parent == path.parent
                and len(jpegs) == 1):
            photographs[name] = jpegs[0]
            masks[name] = path if other in jpegs else other
        else:
            found.problems.append(taken(path, other))
    return dict(sorted(photographs.items())), dict(sorted(masks.items()))


def files_of_splits(
        raw: Path, split: str,
        found: Found) -> Iterator[tuple[str, tuple[str, ...], Path]]:
    """The images below any folder that is called like a split: stem,
    lower-case names of all folders, and path.
    """
    for path, folders in _images_below(raw, found):
        lower = tuple(map(str.lower, folders))
        if set(lower) & set(SPLITS[split]):
            yield path.stem, lower, path


def _images_below(raw: Path,
                  found: Found) -> Iterator[tuple[Path, tuple[str, ...]]]:
    """Images, and the names of the folders that each lies in."""
    for path in visible_files(raw):
        if path.suffix.lower() in IMAGE_SUFFIXES:
            yield path, path.relative_to(raw).parts[:-1]
        else:
            found.left_out.add(path)


def _is_mask(path: Path, folders: Sequence[str]) -> bool:
    """Whether the nearest folder that says something says mask."""
    if path.suffix.lower() == '.bmp':
        return True
    for folder in reversed(folders):
        if folder.lower() in IMAGES:
            return False
        if MASK_WORDS.search(folder):
            return True
    return False


def beside(raw: Path, expected: Sequence[str]) -> str:
    """Lines for a message: the expected tree beside the one that was found."""
    if not expected:
        return ''
    there = []
    for base, folders, files in os.walk(raw):
        folders[:] = sorted(f for f in folders if not f.startswith('.'))
        files = sorted(f for f in files if not f.startswith('.'))
        if files:
            first = (Path(base) / files[0]).relative_to(raw).as_posix()
            rest = f' (and {len(files) - 1} more files)'
            there.append(first + rest * (len(files) > 1))
    if len(there) > MAX_LINES:
        there[MAX_LINES:] = [f'... and {len(there) - MAX_LINES} more folders']
    return '\n  '.join(['\nExpected, for instance:', *expected]) + '\n  '.join(
        [f'\nFound in {raw}:', *(there or ['nothing'])])
