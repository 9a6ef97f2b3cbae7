"""Sampling by dataset: one image of every member per item."""
import random
import zlib
from collections.abc import Sequence
from contextlib import contextmanager

import numpy as np
import torch
from mmseg.datasets import DATASETS
from torch.utils.data import Dataset

from .array_cache import ArrayCache
from .checks import build_members
from .label_folder import labelled_classes


@contextmanager
def seeded(key: Sequence[int]):
    """Run a block with Python's, NumPy's and torch's CPU generators seeded by
    non-negative integers; the three states are put back afterwards.
    """
    words = np.random.SeedSequence(list(key)).generate_state(6)
    before = random.getstate(), np.random.get_state(), torch.get_rng_state()
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


@DATASETS.register_module()
class JointDataset(Dataset):
    """Join datasets: an item holds one sample of each of them.

    Every member is shuffled on its own without end. Its permutation of a cycle
    follows from the seed, the member and the number of the cycle, its random
    transforms from the seed, the member and the index. So there is nothing to
    save for a resumed run, and neither workers nor processes change what an
    index means (docs/method.md, section 4).

    Of members in a list of their own, which take turns, item i holds a sample
    of member ``i % n`` only, so that a step costs no more where collections
    are many. ``cache_dir`` is the folder of an :class:`ArrayCache`.
    """

    def __init__(self,
                 datasets: Sequence,
                 seed: int = 0,
                 cache_dir: str | None = None):
        self.seed = seed
        members, self.turns = [], []
        for entry in datasets:
            turns = entry if isinstance(entry, (list, tuple)) else [entry]
            self.turns.append(range(len(members), len(members) + len(turns)))
            members.extend(turns)
        if not all(self.turns) or not members:
            raise ValueError('JointDataset, and each list of those that take '
                             'turns, needs at least one member dataset.')
        self.datasets = build_members(members)
        first = self.datasets[0]
        for member in self.datasets:
            if member.tasks != first.tasks:
                raise ValueError(
                    'All members of a JointDataset need the same tasks, those '
                    f'of the model; {first.name!r} and {member.name!r} have '
                    'others.')
            if cache_dir:
                member.cache = ArrayCache(cache_dir)
        for task in first.tasks:
            # planes name the classes with truth, if only some have it
            labelled = labelled_classes(task, [m.truth for m in self.datasets])
            if 0 < len(labelled) < task.num_classes:
                learnt = task.part(labelled).classes
                for member in self.datasets:
                    member.planes[task.name]['learnt'] = learnt
        # members are numbered by name, so that their order means nothing
        names = [member.name for member in self.datasets]
        texts = [f'{n}#{names[:k].count(n)}' for k, n in enumerate(names)]
        self._keys = [zlib.crc32(text.encode()) for text in texts]

    def __len__(self) -> int:
        """Items until the longest member was seen once; there is no end."""
        return max(len(turns) * len(self.datasets[k])
                   for turns in self.turns for k in turns)  # yapf: disable

    def __getitem__(self, index: int) -> list[dict]:
        samples = []
        for turns in self.turns:
            k = turns[index % len(turns)]
            member, key = self.datasets[k], self._keys[k]
            cycle, position = divmod(index // len(turns), len(member))
            bits = np.random.PCG64([self.seed, key, cycle])
            order = np.random.Generator(bits).permutation(len(member))
            with seeded((self.seed, key, index)):
                samples.append(member[int(order[position])])
        return samples
