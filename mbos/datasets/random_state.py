"""Random states that depend on what is drawn, not on who draws it."""
import random
from collections.abc import Sequence
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def seeded(key: Sequence[int]):
    """Run a block with Python's, NumPy's and torch's CPU generators seeded.

    ``key`` are non-negative integers that name the block. The three states
    are put back afterwards, so the block neither sees nor changes the random
    numbers around it.
    """
    words = np.random.SeedSequence(list(key)).generate_state(6)
    before = (random.getstate(), np.random.get_state(), torch.get_rng_state())
    random.seed(int(words[0]) << 32 | int(words[1]))
    np.random.seed(words[2:4])
    # torch.manual_seed would also reset the CUDA generators, and with them
    # the dropout masks of a run without worker processes
    torch.default_generator.manual_seed(int(words[4]) << 31 | int(words[5]))
    try:
        yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])
        torch.set_rng_state(before[2])
