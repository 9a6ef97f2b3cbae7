"""Readers that do what must not happen, to see that it is seen."""
import os
import time


def _kind(read):
    return lambda rng, folder: ('file', lambda: read(folder))


KINDS = dict(
    crash=_kind(lambda folder: os.abort()),
    hang=_kind(lambda folder: time.sleep(60)),
    unexplained=_kind(lambda folder: {}[1]),
    unnamed=_kind(lambda folder: int('x')),
    memory=_kind(lambda folder: bytes(10**11)),
    written=_kind(lambda folder: (folder / 'out.tmp').touch()),
    ran_code=_kind(lambda folder: open('hostile_code_was_run', 'w').close()),
    harmless=_kind(lambda folder: None))
