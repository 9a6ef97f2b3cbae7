"""Batches: the endless ones of training, and those of test sets."""
import signal
import sys
from collections.abc import Iterator, Sequence

import cv2
import torch
from mmcv import Config
from mmcv.parallel import DataContainer
from mmcv.runner import get_dist_info
from mmseg.datasets import build_dataloader
from torch.utils.data import DataLoader, Dataset, DistributedSampler, Sampler

Sample = dict[str, DataContainer]


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


class BatchContainer(DataContainer):
    """mmcv's container of tensors, which can be put into pinned memory.

    A DataLoader with ``pin_memory`` leaves mmcv's own as they are.
    """

    def pin_memory(self) -> 'BatchContainer':
        """Copy the tensors to memory from which a GPU can fetch them."""
        return BatchContainer(
            [[t.pin_memory()
              for t in part] if isinstance(part, list) else part.pin_memory()
             for part in self.data],
            stack=self.stack)


def collate_samples(
        batch: Sequence[Sample | list[Sample]]) -> dict[str, object]:
    """Join samples, or items of :class:`JointDataset`, to a batch for one GPU.

    Items are flattened: all members of the first one come first.

    Returns:
        dict: ``img`` of shape (N, 3, H, W) and ``labels`` of shape
        (N, T, H, W), or lists of N tensors where sizes differ (images are
        never padded to each other's size), and ``img_metas``, a list of N
        dicts; all in mmcv's layout of one entry per GPU.
    """
    samples = []
    for item in batch:
        samples.extend(item if isinstance(item, (list, tuple)) else [item])
    if not samples:
        raise ValueError('Expected at least one sample, got an empty batch.')
    metas = [sample['img_metas'].data for sample in samples]
    return dict(
        img=_join([sample['img'].data for sample in samples]),
        labels=_join([sample['labels'].data for sample in samples]),
        img_metas=DataContainer([metas], cpu_only=True))


def _join(tensors: list[torch.Tensor]) -> BatchContainer:
    same = all(tensor.shape == tensors[0].shape for tensor in tensors)
    if same:
        return BatchContainer([torch.stack(tensors)], stack=True)
    return BatchContainer([tensors])


def build_train_loader(dataset: Dataset,
                       samples_per_gpu: int = 1,
                       workers_per_gpu: int = 0,
                       seed: int = 0,
                       rank: int | None = None,
                       world_size: int | None = None,
                       start: int = 0,
                       prefetch_factor: int = 2,
                       pin_memory: bool = False) -> DataLoader:
    """Make a loader that never ends and that depends on nothing but the seed.

    The number of workers does not change what it yields, and a loader with
    ``start=n`` yields what another one yields from its iteration n on. An item
    is one image of every member, a batch that of :func:`collate_samples`.

    Args:
        dataset: Dataset that answers any index; its seed is set.
        samples_per_gpu: Items per iteration.
        workers_per_gpu: Worker processes; 0 loads in this process.
        seed: Of order and augmentation, the same in all processes.
        rank, world_size: This process and their number; None asks torch.
        start: First iteration, for a resumed run.
        prefetch_factor: Batches loaded ahead by a worker.
        pin_memory: Whether batches are put into memory from which a GPU
            fetches them beside its work.
    """
    if rank is None or world_size is None:
        rank, world_size = get_dist_info()
    dataset.set_seed(seed)
    sampler = InfiniteIndexSampler(rank, world_size, start, samples_per_gpu)
    several = workers_per_gpu > 0
    return DataLoader(
        dataset,
        batch_size=samples_per_gpu,
        sampler=sampler,
        num_workers=workers_per_gpu,
        collate_fn=collate_samples,
        pin_memory=pin_memory,
        worker_init_fn=start_worker if several else None,
        persistent_workers=several,
        prefetch_factor=prefetch_factor if several else None,
        # a generator of its own: starting the loader must not draw from the
        # one that dropout uses
        generator=torch.Generator().manual_seed(seed))


def start_worker(worker_id: int) -> None:
    """Leave the cores to the other workers, and signals to the parent."""
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    # Who ends a job signals all its processes, while training still needs the
    # images of its last iteration. A second one means this worker.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM,
                  lambda *_: signal.signal(signal.SIGTERM, signal.SIG_DFL))


def build_test_loader(dataset, cfg: Config, env, deal: bool = True):
    """A loader of one image of a test set at a time, in order.

    With ``deal``, several processes share the images; otherwise each gets all
    of them.
    """
    workers = cfg.data.get('test_workers')
    if workers is None:
        workers = cfg.data.get('workers_per_gpu') or 0
    loader = build_dataloader(
        dataset,
        samples_per_gpu=1,
        workers_per_gpu=workers,
        dist=False,
        shuffle=False,
        pin_memory=env.device.type == 'cuda',
        persistent_workers=False)
    loader.worker_init_fn = start_worker
    if deal and env.distributed:
        # mmseg's makes all processes meet, and fails where they are more than
        # twice as many as images
        loader.batch_sampler.sampler = DistributedSampler(
            dataset, env.world_size, env.rank, shuffle=False)
    return loader
