"""Files that are written whole or not at all."""
import json
import os
import os.path as osp
from typing import BinaryIO, Callable


def save_whole(path: str, write: Callable[[BinaryIO], None]) -> None:
    """Write a temporary file beside the target, then rename it.

    Args:
        path (str): The file; its folder is made where it is missing.
        write (Callable): Gets the open binary file.
    """
    os.makedirs(osp.dirname(osp.abspath(path)), exist_ok=True)
    temporary = f'{path}.{os.getpid()}.tmp'
    try:
        with open(temporary, 'wb') as file:
            write(file)
        os.replace(temporary, path)
    except BaseException:
        if osp.exists(temporary):
            os.unlink(temporary)
        raise


def save_text(path: str, text: str) -> None:
    """Write text in UTF-8, whole or not at all.

    Args:
        path (str): The file.
        text (str): What it gets, as it is.
    """
    save_whole(path, lambda file: file.write(text.encode('utf-8')))


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
