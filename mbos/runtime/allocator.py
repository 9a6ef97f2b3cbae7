"""How the C library's allocator deals with freed memory, where it is glibc.

It normally hands large freed blocks back to the system and asks for them
anew, and the system clears each page again: about an eighth of a training
step on CPU went there.
"""
import ctypes
import os
import sys

TRIM_THRESHOLD = -1  # names of malloc.h
MMAP_MAX = -4
ARENA_MAX = -8
CHOSEN_BY = ('MALLOC_MMAP_THRESHOLD_', 'MALLOC_MMAP_MAX_',
             'MALLOC_TRIM_THRESHOLD_')


def keep_freed_memory() -> bool:
    """Keep freed memory for the next step of this process.

    Threads that have not asked for memory yet share one heap: others are given
    back to the system when they are empty. Leaves the allocator alone where
    the environment sets it already.
    """
    if sys.platform != 'linux' or any(name in os.environ
                                      for name in CHOSEN_BY):
        return False
    mallopt = getattr(ctypes.CDLL(None), 'mallopt', None)
    if mallopt is None or 'malloc' in os.environ.get('GLIBC_TUNABLES', ''):
        return False
    # no block is mapped on its own: a threshold would leave those above 32 MB
    settings = {MMAP_MAX: 0, TRIM_THRESHOLD: 2**31 - 1, ARENA_MAX: 1}
    return all([mallopt(*setting) for setting in settings.items()])
