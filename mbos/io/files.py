"""Files that are written whole or not at all."""
import json
import os
import os.path as osp
import re
from contextlib import contextmanager, suppress
from typing import BinaryIO, Callable, Iterator, List

_TEMPORARY = re.compile(r'\.(\d+)\.tmp$')


@contextmanager
def whole_file(path: str) -> Iterator[BinaryIO]:
    """Open a file that gets its name only when all of it is on the disk.

    It is written beside the target under a temporary name, then renamed. If
    the block fails, or the process is killed in it, the name stands for what
    it stood for before.

    Args:
        path (str): The file; its folder is made where it is missing.

    Yields:
        BinaryIO: The file to write.
    """
    os.makedirs(osp.dirname(osp.abspath(path)), exist_ok=True)
    temporary = f'{path}.{os.getpid()}.tmp'
    try:
        with open(temporary, 'wb') as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            os.remove(temporary)
        raise
    sync_folder(osp.dirname(osp.abspath(path)))


def save_whole(path: str, write: Callable[[BinaryIO], None]) -> None:
    """Write a file with a function, whole or not at all.

    Args:
        path (str): The file; its folder is made where it is missing.
        write (Callable): Gets the open binary file.
    """
    with whole_file(path) as file:
        write(file)


def save_text(path: str, text: str) -> None:
    """Write text in UTF-8, whole or not at all.

    Args:
        path (str): The file.
        text (str): What it gets, as it is.
    """
    save_whole(path, lambda file: file.write(text.encode('utf-8')))


def sync_folder(folder: str) -> None:
    """Bring renamed and removed names of a folder to the disk.

    Args:
        folder (str): The folder. File systems that cannot do it are left
            alone.
    """
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def replace_link(target: str, link: str) -> None:
    """Let a symbolic link point elsewhere; there is no moment without it.

    Args:
        target (str): What it shall point to.
        link (str): The link.
    """
    temporary = f'{link}.{os.getpid()}.tmp'
    with suppress(FileNotFoundError):
        os.remove(temporary)
    os.symlink(target, temporary)
    os.replace(temporary, link)


def remove_leftovers(folder: str) -> List[str]:
    """Remove the temporary files of processes that were killed.

    Args:
        folder (str): The folder; it need not be there.

    Returns:
        list[str]: The names that were removed.
    """
    removed = []
    if not osp.isdir(folder):
        return removed
    for name in sorted(os.listdir(folder)):
        match = _TEMPORARY.search(name)
        if match and not _is_running(int(match[1])):
            with suppress(OSError):
                os.remove(osp.join(folder, name))
                removed.append(name)
    return removed


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    return True


def save_json(path: str, content) -> None:
    """Write JSON, whole or not at all.

    Args:
        path (str): The file.
        content (object): What ``json`` can write; NaN becomes null.
    """
    text = json.dumps(without_nan(content), indent=2, allow_nan=False)
    save_text(path, text + '\n')


def without_nan(value):
    """Replace NaN and infinities, which JSON has not, by None."""
    if isinstance(value, dict):
        return {key: without_nan(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_nan(item) for item in value]
    if isinstance(value, float) and value - value != 0:
        return None
    return value
