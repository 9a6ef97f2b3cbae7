"""Files that are written whole or not at all."""
import json
import os
import os.path as osp


def save_json(path: str, content) -> None:
    """Write JSON to a temporary file beside the target, then rename it.

    Args:
        path (str): The file.
        content (object): What ``json`` can write; NaN becomes null.
    """
    text = json.dumps(_without_nan(content), indent=2, allow_nan=False)
    os.makedirs(osp.dirname(osp.abspath(path)), exist_ok=True)
    temporary = f'{path}.{os.getpid()}.tmp'
    with open(temporary, 'w', encoding='utf-8') as file:
        file.write(text + '\n')
    os.replace(temporary, path)


def _without_nan(value):
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(item) for item in value]
    if isinstance(value, float) and value - value != 0:
        return None
    return value
