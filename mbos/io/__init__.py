"""Files in and out, without torch and mmcv.

Files that others made are looked at before they are read or followed. Shared
by the library and ``prepare_dataset``.
"""
from .errors import RefusedError
from .images import FORMATS, open_image
from .paths import (check_inside, check_regular, is_printable,
                    problems_of_links, problems_of_names, read_text)

__all__ = [
    'FORMATS', 'RefusedError', 'check_inside', 'check_regular', 'is_printable',
    'open_image', 'problems_of_links', 'problems_of_names', 'read_text'
]
