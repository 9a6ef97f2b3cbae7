"""Files that others made, looked at before they are read or followed.

A path may lead out of the folder that was named, or to a pipe; a file of 100
bytes may claim 60000 x 60000 pixels, for which a decoder would allocate 10 GB.
"""
import os
import os.path as osp
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import PurePath
from typing import BinaryIO

from PIL import Image, UnidentifiedImageError

FORMATS = ('JPEG', 'PNG', 'TIFF', 'BMP', 'GIF', 'PPM', 'WEBP', 'JPEG2000')
"""Those that are read, by Pillow's names. Others start programs (EPS)."""
LINKS, PIXELS = 'MBOS_ALLOW_LINKS', 'MBOS_MAX_IMAGE_PIXELS'
MAX_PIXELS = '256000000'  # five times the largest fundus cameras
MAX_TEXT = 64 * 1024**2  # bytes of the largest list that is read
MAX_SHOWN = 5
UNPRINTABLE = ('Cc', 'Cs', 'Zl', 'Zp')  # categories of Unicode

FilePath = str | os.PathLike[str]


class RefusedError(ValueError):
    """A file is not what it should be; names it, the reason, the remedy."""


def sentence_of(error: BaseException) -> str:
    """The text of an error; of one of the system, the file comes first."""
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f'{error.filename}: {error.strerror}.'
    return str(error)


def check_regular(path: FilePath) -> None:
    """Refuse pipes, which would be waited for, devices and folders, also
    behind links.
    """
    try:
        os.stat(path)
    except ValueError as error:  # a NUL byte
        raise RefusedError(
            f'{path!r}: is not a file name ({error}).') from error
    if not osp.isfile(path):
        raise RefusedError(f'{os.fspath(path)}: is not a regular file but a '
                           'pipe, folder or device; copy the file there.')


def read_text(path: FilePath, max_bytes: int = MAX_TEXT) -> str:
    """Read a small text file in UTF-8, with or without a BOM."""
    check_regular(path)
    if os.stat(path).st_size > max_bytes:
        raise RefusedError(f'{os.fspath(path)}: has more than {max_bytes} '
                           'bytes, which is not a list of names; give the '
                           'right file.')
    with open(path, encoding='utf-8-sig') as file:
        return file.read()


def _is_within(path: FilePath, folder: FilePath) -> bool:
    return PurePath(osp.abspath(path)).is_relative_to(osp.abspath(folder))


def check_inside(root: FilePath, path: FilePath) -> None:
    """Refuse a path below a root that links lead out of it.

    The root itself may be a link. A path that is not below the root as it is
    written was named by whoever named the root, and is not looked at; nor is
    one that leads to a folder of ``MBOS_ALLOW_LINKS``.
    """
    if not _is_within(path, root):
        return
    real = osp.realpath(path)
    allowed = filter(None, os.environ.get(LINKS, '').split(os.pathsep))
    if not any(_is_within(real, osp.realpath(f)) for f in (root, *allowed)):
        raise RefusedError(
            f'{os.fspath(path)}: a link leads out of {os.fspath(root)}, to '
            f'{real}; copy the data, or if the link is yours, set '
            f'{LINKS}={osp.dirname(real)} (folders that links may lead to, '
            "separated by ':').")


def problems_of_links(root: FilePath,
                      folder: FilePath | None = None,
                      recursive: bool = False) -> list[str]:
    """A sentence for each of the first links in a folder, by default the root,
    that lead out of the root.
    """
    folder = folder or root
    if not _is_within(folder, root):
        root = folder
    links, problems = [os.fspath(folder)], []
    for base, folders, files in os.walk(folder):
        names = (n for n in sorted(folders + files) if not n.startswith('.'))
        links += filter(osp.islink, (osp.join(base, name) for name in names))
        if not recursive:
            break
    for path in links:
        try:
            check_inside(root, path)
        except RefusedError as error:
            problems.append(str(error))
    return problems[:MAX_SHOWN]


def is_printable(name: str) -> bool:
    """Whether a file name is without line breaks, control characters and
    bytes that are not UTF-8, which break lists, logs and terminals.
    """
    return not any(unicodedata.category(c) in UNPRINTABLE for c in name)


def problems_of_names(folder: FilePath) -> list[str]:
    """A sentence for each of the first names that are not printable."""
    wrong = [n for n in sorted(os.listdir(folder)) if not is_printable(n)]
    return [
        f'{os.fspath(folder)}: the file name {name!r} has characters that '
        'cannot be printed; rename the file.' for name in wrong[:MAX_SHOWN]
    ]


def check_size(path: FilePath, width: int, height: int) -> None:
    """Refuse what has more pixels than the variable says, or none."""
    limit = os.environ.get(PIXELS) or MAX_PIXELS
    if not limit.isascii() or not limit.isdecimal():
        raise RefusedError(f'{PIXELS} is {limit!r}, expected a number of '
                           f'pixels such as {MAX_PIXELS}.')
    if not 0 < width * height <= int(limit):
        raise RefusedError(
            f'{os.fspath(path)}: its header claims {width}x{height} pixels, '
            f'expected 1 to {limit}; the file is damaged or made to exhaust '
            f'memory. If it is as large as that, set {PIXELS}.')


@contextmanager
def refusing(path: FilePath) -> Iterator[None]:
    """Turns what decoders raise into one sentence about the file."""
    try:
        yield
    except RefusedError:
        raise
    except Exception as error:  # decoders raise many kinds on bad bytes
        reason = f'cannot be read ({error}); is it complete? Copy it again'
        if isinstance(error, FileNotFoundError):
            reason = 'no such file'
        elif isinstance(error, UnidentifiedImageError):
            reason = f'is not a picture ({", ".join(FORMATS)}): empty, ' \
                'damaged, or of another kind, such as a TIFF of floating-' \
                'point colours; export it again with 8 or 16 bits'
        raise RefusedError(f'{os.fspath(path)}: {reason}.') from error


@contextmanager
def open_image(path: FilePath,
               stream: BinaryIO | None = None,
               formats: Sequence[str] = FORMATS) -> Iterator[Image.Image]:
    """Open an image of a size that is allowed, which is not decoded yet. What
    is wrong with it, or found so while it is open, is refused.

    Where there is a ``stream`` to read instead of the file, the path is a
    name for errors.
    """
    Image.MAX_IMAGE_PIXELS = None  # Pillow has other limits
    with refusing(path):
        if stream is None:
            check_regular(path)
        with Image.open(stream or path, formats=formats) as image:
            check_size(path, *image.size)
            yield image
