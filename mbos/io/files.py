"""Files that are written whole or not at all: the one way to write a file."""
import hashlib
import json
import os
import os.path as osp
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

_TEMPORARY = re.compile(r'\.(\d+)\.tmp$')
Path = str | os.PathLike

DISCLAIMER = ('Research software, not a medical device: not for diagnosis or '
              'treatment.')
"""str: On every page, model card and folder of predictions."""


@contextmanager
def whole_path(path: Path) -> Iterator[str]:
    """A name to write a file under until all of it is on the disk and gets the
    target's name. If the block fails, or the process is killed in it, the
    target is what it was before. Its folder is made where it is missing.
    """
    folder = osp.dirname(osp.abspath(path))
    os.makedirs(folder, exist_ok=True)
    temporary = f'{os.fspath(path)}.{os.getpid()}.tmp'
    try:
        yield temporary
        _sync(temporary)
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            os.remove(temporary)
        raise
    sync_folder(folder)


def save_whole(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a file by a function that gets the open binary file."""
    with whole_path(path) as temporary, open(temporary, 'wb') as file:
        write(file)


def save_bytes(path: Path, content: bytes) -> None:
    """Write bytes, whole or not at all."""
    save_whole(path, lambda file: file.write(content))


def save_text(path: Path, text: str) -> None:
    """Write text in UTF-8, whole or not at all."""
    save_bytes(path, text.encode('utf-8'))


def save_json(path: Path, content: object) -> None:
    """Write JSON, whole or not at all; NaN and infinities become null."""
    text = json.dumps(without_nan(content), indent=2, allow_nan=False)
    save_text(path, text + '\n')


def without_nan(value: Any) -> Any:
    """A value as JSON has it, with None in place of NaN and infinities."""
    return json.loads(json.dumps(value), parse_constant=lambda name: None)


def read_json(path: Path) -> dict | None:
    """Read a dict, None if the file is missing or damaged."""
    try:
        with open(path, encoding='utf-8') as file:
            content = json.load(file)
    except (OSError, ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None


def save_image(path: Path, image: np.ndarray | Image.Image,
               **options: Any) -> None:
    """Write an image, whole or not at all, in the format of the suffix.

    Arrays are RGB (H, W, 3) or grey (H, W), uint8; options are those of
    Pillow's writer. A JPEG has quality 95 and as many pixels of colour as of
    brightness, unless they say otherwise: thin lines are seen by their colour.
    """
    suffix = osp.splitext(path)[1].lower()
    kind = Image.registered_extensions().get(suffix)
    if kind not in Image.SAVE:
        raise ValueError(f'{path}: no picture format; use .jpg or .png.')
    if kind == 'JPEG':
        options = dict(quality=95, subsampling=0) | options
    if isinstance(image, np.ndarray):
        image = Image.fromarray(image)
    save_whole(path, lambda file: image.save(file, format=kind, **options))


def _sync(path: str) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_folder(folder: str) -> None:
    """Bring renamed and removed names to the disk, if its system can do it."""
    with suppress(OSError):
        _sync(folder)


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files of processes that were killed from a folder,
    if there is one; folders in it are not looked into.
    """
    names = os.listdir(folder) if osp.isdir(folder) else ()
    for match in filter(None, map(_TEMPORARY.search, names)):
        with suppress(OSError):  # also where it is somebody else's process
            try:
                os.kill(int(match[1]), 0)
            except (ProcessLookupError, OverflowError):
                os.remove(osp.join(folder, match.string))


def file_sha256(path: str) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with open(path, 'rb') as file:
        return hashlib.file_digest(file, 'sha256').hexdigest()
