"""How glibc's allocator deals with freed memory.

It normally hands large freed blocks back to the system and asks for them
anew, and the system clears each page again: about an eighth of a training
step on CPU went there.
"""
import ctypes
import os
import sys

# names of malloc.h; no block is mapped on its own: a threshold would leave
# those above 32 MB. Threads share one heap: others are given back when empty.
M_TRIM_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX = -1, -4, -8
SETTINGS = {M_MMAP_MAX: 0, M_TRIM_THRESHOLD: 2**31 - 1, M_ARENA_MAX: 1}


def keep_freed_memory() -> bool:
    """Keep freed memory for the next step of this process, unless the
    environment sets the allocator, or it is another one."""
    chosen = any(name.startswith('MALLOC_') for name in os.environ)
    if chosen or 'malloc' in os.environ.get('GLIBC_TUNABLES', ''):
        return False
    library = ctypes.CDLL(None) if sys.platform == 'linux' else None
    mallopt = getattr(library, 'mallopt', None)
    return mallopt is not None and all(
        [mallopt(*setting) for setting in SETTINGS.items()])
