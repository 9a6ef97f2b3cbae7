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
CHOSEN_BY = ('MALLOC_MMAP_THRESHOLD_', 'MALLOC_MMAP_MAX_',
             'MALLOC_TRIM_THRESHOLD_')


def keep_freed_memory() -> bool:
    """Keep freed memory for the next step of this process.

    Leaves the allocator alone where the environment sets it already.
    """
    if sys.platform != 'linux' or any(name in os.environ
                                      for name in CHOSEN_BY):
        return False
    mallopt = getattr(ctypes.CDLL(None), 'mallopt', None)
    if mallopt is None or 'malloc' in os.environ.get('GLIBC_TUNABLES', ''):
        return False
    # no block is mapped on its own: a threshold would leave those above 32 MB
    return bool(mallopt(MMAP_MAX, 0) and mallopt(TRIM_THRESHOLD, 2**31 - 1))
