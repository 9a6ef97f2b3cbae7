"""What the allocator does with freed memory, in processes of their own."""
import os
import platform
import subprocess
import sys

import pytest

from mbos.runtime import allocator

SCRIPT = '''
import ctypes, resource, runpy, sys
c = ctypes.CDLL(None)
c.malloc.restype = ctypes.c_void_p

def faults_of_blocks(size=8 * 2**20):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        block = ctypes.c_void_p(c.malloc(size))
        c.memset(block, 1, size)
        c.free(block)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

kept = runpy.run_path(sys.argv[1])['keep_freed_memory']()
faults_of_blocks()
print(int(kept), faults_of_blocks())
'''
PAGES = 20 * 8 * 2**20 // os.sysconf('SC_PAGE_SIZE')


@pytest.mark.skipif(platform.libc_ver()[0] != 'glibc', reason='needs glibc')
@pytest.mark.parametrize('chosen', [
    {},
    dict(MALLOC_MMAP_THRESHOLD_='1048576'),
    dict(GLIBC_TUNABLES='glibc.malloc.mmap_threshold=1048576'),
])
def test_freed_blocks_serve_again_unless_the_user_chose(chosen):
    text = subprocess.check_output(
        [sys.executable, '-c', SCRIPT, allocator.__file__],
        env=dict(os.environ, **chosen))
    kept, faults = map(int, text.split())
    assert kept == (not chosen)
    # not asked for anew, or each block from the system
    assert faults >= PAGES if chosen else faults < PAGES / 10
