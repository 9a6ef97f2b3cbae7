"""Batches: the endless ones of training, and those of test sets."""
import itertools
import signal
import sys
from collections.abc import Iterator, Sequence
from functools import partial

import cv2
import torch
from mmcv import Config
from mmcv.parallel import DataContainer, collate
from torch.utils.data import DataLoader, Dataset, DistributedSampler, Sampler

from .joint import JointDataset


class InfiniteIndexSampler(Sampler):
    """Deal the indices 0, 1, 2, ... to the processes of a run, without end,
    ``samples_per_gpu`` to each in turn. ``start`` is the first iteration.
    """

    def __init__(self, rank: int, world_size: int, start: int,
                 samples_per_gpu: int):
        self.rank, self.world_size = rank, world_size
        self.start, self.samples_per_gpu = start, samples_per_gpu

    def __iter__(self) -> Iterator[int]:
        for n in itertools.count(self.start):
            first = (n * self.world_size + self.rank) * self.samples_per_gpu
            yield from range(first, first + self.samples_per_gpu)

    def __len__(self) -> int:
        """A length that is never reached; mmcv's logger hooks ask for one."""
        return sys.maxsize


class BatchContainer(DataContainer):
    """mmcv's container of tensors for one GPU, which a DataLoader can pin."""

    def pin_memory(self) -> 'BatchContainer':
        """Copy the tensors to memory from which a GPU can fetch them."""
        content, = self.data
        pinned = (
            content.pin_memory()
            if self.stack else [tensor.pin_memory() for tensor in content])
        return BatchContainer([pinned], stack=self.stack)


def collate_samples(batch: Sequence[dict | list[dict]]) -> dict:
    """Join samples, or items of :class:`JointDataset`, to a batch for one GPU.

    All members of the first item come first. Returns ``img`` (N, 3, H, W) and
    ``labels`` (N, T, H, W), or lists of N tensors where sizes differ, and
    ``img_metas``, N dicts; each in mmcv's list of one per GPU.
    """
    samples = []
    for item in batch:
        samples += item if isinstance(item, list) else [item]
    metas = [sample['img_metas'].data for sample in samples]
    joined = dict(img_metas=DataContainer([metas], cpu_only=True))
    for key in ('img', 'labels'):
        tensors = [sample[key].data for sample in samples]
        same = len({tensor.shape for tensor in tensors}) == 1
        stacked = torch.stack(tensors) if same else tensors
        joined[key] = BatchContainer([stacked], same)
    return joined


def build_train_loader(dataset: JointDataset,
                       cfg: Config,
                       env,
                       start: int = 0) -> DataLoader:
    """The endless loader of a process, which depends on nothing but the seed.

    The number of workers does not change what it yields, and a loader with
    ``start=n`` yields what another one yields from its iteration n on.
    """
    dataset.seed = cfg.seed
    batch, workers = cfg.data.samples_per_gpu, cfg.data.workers_per_gpu
    return DataLoader(
        dataset,
        batch_size=batch,
        sampler=InfiniteIndexSampler(env.rank, env.world_size, start, batch),
        num_workers=workers,
        collate_fn=collate_samples,
        pin_memory=env.device.type == 'cuda',
        worker_init_fn=start_worker,
        persistent_workers=workers > 0,
        # a generator of its own: starting the loader must not draw from the
        # one that dropout uses
        generator=torch.Generator().manual_seed(cfg.seed))


def start_worker(worker_id: int) -> None:
    """Leave the cores to the other workers, and signals to the parent."""
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    # Who ends a job signals all its processes, while training still needs the
    # images of its last iteration. A second one means this worker.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM,
                  lambda *_: signal.signal(signal.SIGTERM, signal.SIG_DFL))


def build_test_loader(dataset: Dataset,
                      cfg: Config,
                      env,
                      deal: bool = True) -> DataLoader:
    """A loader of one image of a test set at a time, in order: of those of
    this process with ``deal``, of all otherwise.
    """
    workers = cfg.data.get('test_workers', cfg.data.get('workers_per_gpu'))
    sampler = None
    if deal and env.distributed:
        sampler = DistributedSampler(dataset, env.world_size, env.rank, False)
    return DataLoader(
        dataset,
        sampler=sampler,
        num_workers=workers or 0,
        collate_fn=partial(collate, samples_per_gpu=1),
        pin_memory=env.device.type == 'cuda',
        worker_init_fn=start_worker)
