"""What the allocator does with freed memory, in processes of their own."""
import os
import platform
import subprocess
import sys

import pytest

SCRIPT = '''
import resource, sys
import torch
from mbos.accelerate.allocator import keep_freed_memory

def faults_of_blocks():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        torch.ones(2 * 2**20)  # 8 MB
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

kept = keep_freed_memory() if sys.argv[1] == 'keep' else False
faults_of_blocks()
print(kept, faults_of_blocks())
'''
PAGES = 20 * 8 * 2**20 // os.sysconf('SC_PAGE_SIZE')

glibc = pytest.mark.skipif(
    platform.libc_ver()[0] != 'glibc', reason='needs glibc')


def measure(mode, **variables):
    run = subprocess.run([sys.executable, '-c', SCRIPT, mode],
                         env=dict(os.environ, **variables),
                         capture_output=True,
                         text=True,
                         check=True)
    kept, faults = run.stdout.split()
    return kept == 'True', int(faults)


@glibc
def test_freed_blocks_serve_again():
    kept, faults = measure('keep')
    assert kept
    assert faults < PAGES / 10  # not asked for anew


@glibc
@pytest.mark.parametrize('variables', [
    dict(MALLOC_MMAP_THRESHOLD_='1048576'),
    dict(MALLOC_TRIM_THRESHOLD_='1048576'),
    dict(GLIBC_TUNABLES='glibc.malloc.mmap_threshold=1048576'),
])
def test_what_the_user_chose_stays(variables):
    kept, faults = measure('keep', **variables)
    assert not kept
    assert faults >= PAGES  # each block from the system


def test_other_c_libraries_are_left_alone(monkeypatch):
    from mbos.accelerate import allocator
    monkeypatch.setattr(sys, 'platform', 'darwin')
    assert not allocator.keep_freed_memory()
