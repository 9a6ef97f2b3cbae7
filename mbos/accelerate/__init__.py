"""CPU kernels behind one door: the same results in less time and memory.

``accelerate(model)`` exchanges the classes of a network's parts for subclasses
that compute the same; weights, their names and the config stay. The tools call
it on CPU unless the config says ``accelerate = False``.
"""
from mbos.runtime.allocator import keep_freed_memory
from .switch import (ACCELERATORS, accelerate, accelerate_on_cpu, is_wanted,
                     restore)

__all__ = [
    'ACCELERATORS', 'accelerate', 'accelerate_on_cpu', 'is_wanted',
    'keep_freed_memory', 'restore'
]
