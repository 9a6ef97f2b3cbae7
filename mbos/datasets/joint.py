"""Sampling by dataset: one image of every member per item."""
import math
import os.path as osp
import random
import zlib
from collections import Counter
from collections.abc import Sequence
from contextlib import contextmanager

import numpy as np
import torch
from mmcv.utils import print_log
from mmseg.datasets import DATASETS
from mmseg.utils import get_root_logger
from torch.utils.data import Dataset

from .array_cache import ArrayCache, problems_of_cache
from .checks import (MANIFEST, Checked, DataError, build_members,
                     problems_of_checkpoints)

WORTH_KEEPING = 10**9
"""int: Bytes of decoded images from which on a cache is recommended."""


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


@DATASETS.register_module()
class JointDataset(Checked, Dataset):
    """Join datasets: an item holds one sample of each of them.

    Every member is shuffled on its own without end. Item i of a member is
    ``permutation[i % length]`` with a permutation that follows from the seed,
    the member and the cycle ``i // length``, and all random transforms are
    drawn from a state that follows from the seed, the member and i. So there
    is nothing to save for a resumed run, and neither the number of workers
    nor that of processes changes what index i means (docs/method.md,
    section 4).

    Args:
        datasets: Members or their configs. Two members may have the same
            name, as a labelled and a pseudo-labelled one. Members in a list
            of their own take turns: item i holds a sample of member ``i % n``
            of such a list only, so that a step costs no more where
            collections are many.
        seed: Seed of order and augmentation.
        length: What ``len`` says; any index is answered whatever it is. None
            takes the longest member's.
        cache_dir: Folder where all members keep what they decode; see
            :class:`ArrayCache`. None keeps nothing.
    """

    def __init__(self,
                 datasets: Sequence[dict | Dataset | Sequence],
                 seed: int = 0,
                 length: int | None = None,
                 cache_dir: str | None = None):
        places = [
            members if isinstance(members, (list, tuple)) else [members]
            for members in datasets
        ]
        if not places or not all(places):
            raise ValueError('JointDataset needs at least one member dataset, '
                             'and so does a list of those that take turns.')
        self.datasets = []
        self._turns = []
        for members in places:
            start = len(self.datasets)
            self.datasets += members
            self._turns.append(range(start, len(self.datasets)))
        self.datasets = build_members(self.datasets)
        for member in self.datasets:
            if not len(member):
                raise DataError([
                    f'{member.name}: has no image; fill its folder or take '
                    'it out of the config.'
                ])
            if member.tasks != self.datasets[0].tasks:
                raise ValueError(
                    'All members of a JointDataset need the same tasks, got '
                    f'{[t.name for t in self.datasets[0].tasks]} for '
                    f'{self.datasets[0].name!r} and '
                    f'{[t.name for t in member.tasks]} for {member.name!r}: '
                    'give each the full list of tasks of the model.')
        self.tasks = self.datasets[0].tasks
        self.CLASSES = self.datasets[0].CLASSES
        self.PALETTE = self.datasets[0].PALETTE
        if cache_dir:
            for member in self.datasets:
                member.cache = ArrayCache(cache_dir)
        self.length = length or max(
            len(turns) * len(self.datasets[k]) for turns in self._turns
            for k in turns)
        self._name_learnt_classes()
        self._keys = self._member_keys()
        self._orders = {}
        self.set_seed(seed)

    def _name_learnt_classes(self) -> None:
        """Note in all planes which classes of their task have any truth, where
        some have it and some do not.
        """
        for task in self.tasks:
            labelled = {
                name
                for member in self.datasets if task.name in member.truth
                for name in member.truth[task.name].classes
            }
            if 0 < len(labelled) < task.num_classes:
                learnt = task.part(labelled).classes
                for member in self.datasets:
                    member.planes[task.name]['learnt'] = learnt

    def _member_keys(self) -> list[int]:
        """Number the members by name, so that their order means nothing."""
        seen = Counter()
        keys = []
        for member in self.datasets:
            name = f'{member.name}#{seen[member.name]}'
            seen[member.name] += 1
            keys.append(zlib.crc32(name.encode()))
        return keys

    def set_seed(self, seed: int) -> None:
        """Set the seed of order and augmentation."""
        if seed is None or seed < 0:
            raise ValueError(f'Expected a seed of at least 0, got {seed!r}.')
        self.seed = int(seed)
        self._orders.clear()

    def __len__(self) -> int:
        """Length of the longest member, or as configured."""
        return self.length

    @property
    def samples_per_item(self) -> int:
        """How many samples an item holds."""
        return len(self._turns)

    def member_index(self, index: int, member: int) -> int:
        """Position of the image of a member that belongs to an index."""
        size = len(self.datasets[member])
        cycle, position = divmod(index, size)
        known = self._orders.get(member)
        if known is None or known[0] != cycle:
            generator = np.random.Generator(
                np.random.PCG64([self.seed, self._keys[member], cycle]))
            known = (cycle, generator.permutation(size))
            self._orders[member] = known
        return int(known[1][position])

    def __getitem__(self, index: int) -> list[dict]:
        """Get one sample of each member, or list of members that take turns.
        """
        index = int(index)
        if index < 0:
            raise IndexError(f'Expected an index of at least 0, got {index}.')
        samples = []
        for turns in self._turns:
            k = turns[index % len(turns)]
            with seeded((self.seed, self._keys[k], index)):
                image = self.member_index(index // len(turns), k)
                samples.append(self.datasets[k][image])
        return samples

    def __iter__(self):
        """Go once through ``len`` items; indices never run out by themselves.
        """
        return (self[index] for index in range(len(self)))

    def problems(self, full: bool = True) -> list[str]:
        """Collect what is wrong with the data of all members."""
        cache = {}
        found = []
        for member in self.datasets:
            found.extend(
                p for p in member.problems(full, cache) if p not in found)
        manifests = {}
        for member in self.datasets:
            manifests.update(member.manifests())
            found += self._problems_of_kept_truth(member)
        found += [
            p for p in problems_of_checkpoints(manifests) if p not in found
        ]
        return found + (self._problems_of_cache(cache) if full else [])

    def _problems_of_kept_truth(self, member) -> list[str]:
        """Find pseudo labels that were made without truth of their images."""
        found = []
        manifests = member.manifests()
        for task, folder in member.pseudo.items():
            kept = manifests.get(folder.path, {}).get('truth') or ()
            labelled = {
                name
                for other in self.datasets
                if task in other.truth and osp.realpath(other.img_dir) == osp.
                realpath(member.img_dir) and not other.truth[task].is_complete
                for name in other.truth[task].classes
            }
            lost = labelled - set(kept)
            lost = [n for n in folder.task.classes if n in lost]
            if lost and folder.path in manifests:
                found.append(
                    f'{osp.join(folder.path, MANIFEST)}: made without the '
                    f'ground truth of {", ".join(lost)} that dataset '
                    f'{member.name!r} has; run '
                    'tools/generate_pseudo_labels.py again.')
        return found

    def _problems_of_cache(self, images: dict) -> list[str]:
        """Check the space for kept arrays; ``images`` are layouts by path."""
        files = {}
        for member in self.datasets:
            known = files.setdefault(member.cache and member.cache.folder, {})
            for i in range(len(member)):
                image = member.image_path(i)
                layout = images[image][0]
                pixels = math.prod(layout.shape) if layout else 0
                known[image] = 3 * pixels
                planes = member.get_ann_info(i).values()
                known.update(dict.fromkeys(planes, pixels))
        decoded_anew = sum(files.pop(None, {}).values())
        if decoded_anew > WORTH_KEEPING:
            print_log(
                'Images are decoded anew for every sample; '
                'data.train.cache_dir=FOLDER keeps them decoded, '
                f'{decoded_anew / 1e9:.1f} GB (docs/data_loading.md)',
                logger=get_root_logger())
        return sum((problems_of_cache(*item) for item in files.items()), [])
