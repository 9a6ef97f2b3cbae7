"""Files that others made: looked at before they are read or followed.

Shared by ``mbos`` and ``prepare_dataset``; imports neither.
"""
from .errors import RefusedError
from .images import FORMATS, check_image_header, max_image_pixels, open_image
from .paths import (check_inside, check_regular, is_printable, is_within,
                    problems_of_links, problems_of_names, read_text)

__all__ = [
    'FORMATS', 'RefusedError', 'check_image_header', 'check_inside',
    'check_regular', 'is_printable', 'is_within', 'max_image_pixels',
    'open_image', 'problems_of_links', 'problems_of_names', 'read_text'
]
