"""Loaders: the endless one of training, and that of test sets."""
import signal

import cv2
import torch
from mmcv import Config
from mmcv.runner import get_dist_info
from mmseg.datasets import build_dataloader
from torch.utils.data import DataLoader, Dataset, DistributedSampler

from .collate import collate_samples
from .sampler import InfiniteIndexSampler


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
    ``start=n`` yields what another one yields from its iteration n on.

    Args:
        dataset (JointDataset): Dataset that answers any index; its seed is
            set.
        samples_per_gpu (int): Items (one image of every member) per
            iteration. Default: 1.
        workers_per_gpu (int): Worker processes; 0 loads in this process.
            Default: 0.
        seed (int): Seed of order and augmentation, the same in all
            processes. Default: 0.
        rank (int, optional): Number of this process; None asks torch.
        world_size (int, optional): Number of processes; None asks torch.
        start (int): First iteration, for a resumed run. Default: 0.
        prefetch_factor (int): Batches loaded ahead by a worker. Default: 2.
        pin_memory (bool): Whether batches are put into memory from which a
            GPU fetches them beside its work. Default: False.

    Returns:
        DataLoader: Its batches are those of :func:`collate_samples`.
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
    """Leave the cores to the other workers, and signals to the parent.

    Args:
        worker_id (int): Unused; torch passes it.
    """
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    # Who ends a job signals all its processes, while training still needs the
    # images of its last iteration. A second one means this worker.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM,
                  lambda *_: signal.signal(signal.SIGTERM, signal.SIG_DFL))


def build_test_loader(dataset, cfg: Config, env, deal: bool = True):
    """A loader of one image at a time.

    Args:
        dataset (Dataset): A test set.
        cfg (Config): For ``data.workers_per_gpu``.
        env (Environment): Where this process runs.
        deal (bool): Whether several processes share the images; otherwise
            each gets all of them. Default: True.

    Returns:
        DataLoader: In order, without shuffling.
    """
    workers = cfg.data.get('test_workers', cfg.data.workers_per_gpu)
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
