"""The stream of indices that training walks along."""
import sys
from collections.abc import Iterator

from torch.utils.data import Sampler


class InfiniteIndexSampler(Sampler):
    """Deal the indices 0, 1, 2, ... to the processes of a run, without end.

    In iteration n, process r takes the indices ``(n * world_size + r) *
    samples_per_gpu + (0 .. samples_per_gpu - 1)``. So no two processes share
    an index, and a run that resumes at iteration ``start`` goes on there.
    """

    def __init__(self,
                 rank: int = 0,
                 world_size: int = 1,
                 start: int = 0,
                 samples_per_gpu: int = 1):
        if not 0 <= rank < world_size:
            raise ValueError(f'Expected a rank in 0..{world_size - 1}, got '
                             f'{rank}.')
        if start < 0 or samples_per_gpu < 1:
            raise ValueError(
                'Expected start >= 0 and samples_per_gpu >= 1, got '
                f'{start} and {samples_per_gpu}.')
        self.rank = rank
        self.world_size = world_size
        self.start = start
        self.samples_per_gpu = samples_per_gpu

    def __iter__(self) -> Iterator[int]:
        iteration = self.start
        while True:
            first = (iteration * self.world_size +
                     self.rank) * self.samples_per_gpu
            yield from range(first, first + self.samples_per_gpu)
            iteration += 1

    def __len__(self) -> int:
        """A length that is never reached; mmcv's logger hooks ask for one."""
        return sys.maxsize
