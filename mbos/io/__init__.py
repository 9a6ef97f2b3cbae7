"""Files in and out, without torch and mmcv, for preparation, too."""
from .untrusted import (FORMATS, RefusedError, check_inside, check_regular,
                        is_printable, open_image, problems_of_links,
                        problems_of_names, read_text)

__all__ = [
    'FORMATS', 'RefusedError', 'check_inside', 'check_regular', 'is_printable',
    'open_image', 'problems_of_links', 'problems_of_names', 'read_text'
]
