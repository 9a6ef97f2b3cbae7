"""Evaluation of test sets: one network pass per image, sums on disk.

Images are dealt out to the processes one by one; no image is evaluated twice,
and a process may get none. Sums of a run that ended early are used again where
nothing that they depend on has changed.
"""
import hashlib
import os
import os.path as osp
from collections.abc import Iterator, Mapping, Sequence

import mmcv
import torch
import torch.distributed as dist
from mmcv import Config
from torch import nn
from torch.utils.data import Subset

import mbos
from mbos.config import plain
from mbos.datasets.loader import build_test_loader
from mbos.inference.test_sets import predict_batch
from mbos.metrics.sums_store import remove_sums, save_sums
from mbos.runtime.environment import Environment

STORE = '.partial'
"""str: Folder in the work directory for sums of runs that are not done."""


class EvaluationError(ValueError):
    """An image that could not be evaluated."""


def evaluate_in_turn(
        model: nn.Module, datasets: Mapping, cfg: Config, env: Environment,
        checkpoint_sha256: str) -> Iterator[tuple[str, list[str]]]:
    """Run the network of a checkpoint over test sets, one after the other.

    Yields the name of each set and, in the first process, the files with the
    sums of its images, in order, which are removed when the caller asks for
    the next set.

    Raises:
        EvaluationError: In all processes, if one cannot evaluate an image. The
            sums of those that are done wait for the next run.
    """
    run_key = f'{mbos.__version__} {checkpoint_sha256} {plain(cfg.model)!r}'
    for name, dataset in datasets.items():
        folder = osp.join(cfg.work_dir, STORE, name)
        keys = (image_key(run_key, dataset, i) for i in range(len(dataset)))
        paths = [osp.join(folder, f'{key}.npz') for key in keys]
        left = [i for i, path in enumerate(paths) if not osp.exists(path)]
        error = None
        env.barrier()  # all have looked before any writes
        try:
            _evaluate(model, dataset, left, paths, cfg, env)
        except EvaluationError as problem:
            error = str(problem)
        _raise_together(error, env)
        yield name, paths if env.is_main else []
        if env.is_main:
            remove_sums(folder)


def image_key(run_key: str, dataset, index: int) -> str:
    """Name what the sums of an image depend on: other for other files, or the
    same ones written again.
    """
    folders = dataset.mask_folders()
    files = [dataset.image_path(index)]
    files += [folder.file(dataset.stem(index)) for folder in folders]
    states = [os.stat(file) for file in files]
    parts = (run_key, dataset.pipeline_text, dataset.ignore_index,
             dataset.threshold, dataset.operating_points, [
                 (name, folder.classes, folder.binary)
                 for name, folder in sorted(dataset.truth.items())
             ], [(osp.abspath(file), state.st_size, state.st_mtime_ns)
                 for file, state in zip(files, states)])
    return hashlib.sha256(repr(parts).encode()).hexdigest()


@torch.no_grad()
def _evaluate(model, dataset, left: Sequence[int], paths: Sequence[str], cfg,
              env) -> None:
    """Evaluate this process's share of the images that are left."""
    mine = left[env.rank::env.world_size]
    loader = iter(
        build_test_loader(Subset(dataset, mine), cfg, env, deal=False))
    progress = mmcv.ProgressBar(len(left)) if env.is_main and left else None
    for done, index in enumerate(mine, 1):
        path = dataset.image_path(index)
        try:
            prob = predict_batch(model, next(loader), list(dataset.truth))
            sums, = dataset.pre_eval(prob, index)
        except (ValueError, RuntimeError, OSError) as problem:
            text = str(problem)
            raise EvaluationError(text if path in
                                  text else f'{path}: {text}') from problem
        save_sums(paths[index], sums)
        while progress and progress.completed < min(done * env.world_size,
                                                    len(left)):
            progress.update()


def _raise_together(error: str | None, env: Environment) -> None:
    """Raise what went wrong in any process."""
    errors = [error]
    env.barrier()  # without a limit: shares may take unequal time
    if env.distributed:
        errors = [None] * env.world_size
        dist.all_gather_object(errors, error)
    if any(errors):
        raise EvaluationError('\n'.join(e for e in errors if e))
