"""Paths: regular files, inside the folder that was named, of plain names."""
import os
import os.path as osp
import unicodedata

from .errors import RefusedError

VARIABLE = 'MBOS_ALLOW_LINKS'
MAX_TEXT = 64 * 1024**2
"""int: Largest list or manifest that is read, in bytes."""
MAX_SHOWN = 5
UNPRINTABLE = ('Cc', 'Cs', 'Zl', 'Zp')
"""Unicode's categories of control characters, of bytes that are not UTF-8, and
of line breaks."""

FilePath = str | os.PathLike[str]


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
                           'pipe, folder or device; copy the file itself '
                           'there.')


def read_text(path: FilePath, max_bytes: int = MAX_TEXT) -> str:
    """Read a small text file in UTF-8, with or without a BOM."""
    check_regular(path)
    if os.stat(path).st_size > max_bytes:
        raise RefusedError(f'{os.fspath(path)}: has more than {max_bytes} '
                           'bytes, which is not a list of names; give the '
                           'right file.')
    with open(path, encoding='utf-8-sig') as file:
        return file.read()


def _is_within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)


def check_inside(root: FilePath, path: FilePath) -> None:
    """Refuse a path below a root that links lead out of it.

    The root itself may be a link. A path that is not below the root as it is
    written was named by whoever named the root, and is not looked at; nor is
    one that leads to a folder of ``MBOS_ALLOW_LINKS``.
    """
    if not _is_within(osp.abspath(path), osp.abspath(root)):
        return
    allowed = filter(None, os.environ.get(VARIABLE, '').split(os.pathsep))
    real = osp.realpath(path)
    if not any(
            _is_within(real, osp.realpath(folder))
            for folder in (root, *allowed)):
        raise RefusedError(
            f'{os.fspath(path)}: a link leads out of {os.fspath(root)}, to '
            f'{real}; copy the data, or if the link is yours, set '
            f'{VARIABLE}={osp.dirname(real)} (folders that links may lead to, '
            "separated by ':').")


def problems_of_links(root: FilePath,
                      folder: FilePath | None = None,
                      recursive: bool = False) -> list[str]:
    """A sentence for each of the first links in a folder, by default the root,
    that lead out of the root.
    """
    folder = folder or root
    if not _is_within(osp.abspath(folder), osp.abspath(root)):
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
