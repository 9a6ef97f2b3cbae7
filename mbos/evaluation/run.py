"""Evaluation of test sets: one network pass per image, sums on disk.

An image that several test sets have, seen through the same pipeline, goes
through the network once. Images are dealt out to the processes one by one; no
image is evaluated twice, and a process may get none. Sums of a run that ended
early are used again where nothing that they depend on has changed.
"""
import hashlib
import os
import os.path as osp
from collections import defaultdict
from collections.abc import Iterator, Mapping

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

Member = tuple[str, int]
"""tuple: Name of a test set and position of an image in it."""


class EvaluationError(ValueError):
    """An image that could not be evaluated."""


def evaluate_in_turn(
    model: nn.Module, datasets: Mapping, cfg: Config, env: Environment,
    checkpoint_sha256: str
) -> Iterator[tuple[str, dict[int, str], str | None]]:
    """Run the network of a checkpoint over test sets, one after the other.

    After an error no more images are evaluated; the other sets come with what
    is known of them. The sums of a whole set are removed when the caller asks
    for the next one.

    Yields:
        tuple: Name of the set; files of sums by position of the image, none
        but in the first process; why images are missing, if any are.
    """
    store = osp.join(cfg.work_dir, STORE)
    run_key = f'{mbos.__version__} {checkpoint_sha256} {plain(cfg.model)!r}'
    paths = {
        (name, i): osp.join(store, name,
                            f'{image_key(run_key, dataset, i)}.npz')
        for name, dataset in datasets.items()
        for i in range(len(dataset))
    }
    left, error = dict(datasets), None
    for name, dataset in datasets.items():
        if error is None:
            error = _of_all(_evaluate(model, name, left, paths, cfg, env), env)
        places = {
            i: paths[name, i]
            for i in range(len(dataset))
            if env.is_main and osp.exists(paths[name, i])
        }
        missing = len(dataset) - len(places)
        if error is None:
            error = _of_all(
                f'{store}: sums of {missing} of {len(dataset)} evaluated '
                f'images of {name} are missing. Give each evaluation a '
                '--work-dir of its own, on a disk that all its processes see.'
                if env.is_main and missing else None, env)
        yield name, places, error
        if not missing:
            remove_sums(osp.join(store, name))
        del left[name]


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


def _of_all(error: str | None, env: Environment) -> str | None:
    """What went wrong in any process."""
    errors = [error]
    env.barrier()  # without a limit: shares may take unequal time
    if env.distributed:
        errors = [None] * env.world_size
        dist.all_gather_object(errors, error)
    return '\n'.join(e for e in errors if e) or None


def _evaluate(model, name, datasets, paths, cfg, env) -> str | None:
    """Evaluate this process's share of the images of a test set that are not
    done, for all sets that have them; returns what went wrong."""
    passes = [
        members for members in _shared_members(datasets)
        if name in dict(members) and not all(
            osp.exists(paths[member]) for member in members)
    ]
    env.barrier()  # all have looked before any writes
    try:
        for member, sums in _new_sums(model, name, datasets, passes, cfg, env):
            save_sums(paths[member], sums)
    except EvaluationError as problem:
        return str(problem)
    except KeyboardInterrupt:
        if env.distributed:
            raise
        return 'Interrupted.'
    return None


def _shared_members(datasets: Mapping) -> list[list[Member]]:
    """Members of test sets that have an image file and pipeline in common."""
    members = defaultdict(list)
    for name, dataset in datasets.items():
        for index in range(len(dataset)):
            path = osp.realpath(dataset.image_path(index))
            members[path, dataset.pipeline_text].append((name, index))
    return list(members.values())


@torch.no_grad()
def _new_sums(model, name, datasets, passes, cfg,
              env) -> Iterator[tuple[Member, dict]]:
    mine = passes[env.rank::env.world_size]
    images = Subset(datasets[name], [dict(members)[name] for members in mine])
    loader = iter(build_test_loader(images, cfg, env, deal=False))
    progress = mmcv.ProgressBar(
        len(passes)) if env.is_main and passes else None
    for members in mine:
        path = datasets[name].image_path(dict(members)[name])
        try:
            prob = predict_batch(model, next(loader),
                                 _labelled(datasets, members))
            found = [((other, i), datasets[other].pre_eval(prob, i)[0])
                     for other, i in members]
        except (ValueError, RuntimeError, OSError) as problem:
            text = str(problem)
            raise EvaluationError(text if path in
                                  text else f'{path}: {text}') from problem
        yield from found
        if progress:
            left = len(passes) - progress.completed
            for _ in range(min(env.world_size, left)):
                progress.update()


def _labelled(datasets, members) -> list[str] | None:
    """The tasks that are labelled on an image; None where these are all."""
    labelled = {t for name, _ in members for t in datasets[name].truth}
    known = {task.name for task in datasets[members[0][0]].tasks}
    return None if labelled == known else sorted(labelled)
