"""Evaluation of test sets: one network pass per image, sums on disk.

Test sets whose images are the same files, seen through the same pipeline, go
through the network together. Images are dealt out to the processes one by
one; no image is evaluated twice, and a process may get none.
"""
import hashlib
import os
import os.path as osp
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import mmcv
import torch
import torch.distributed as dist
from mmcv import Config
from torch import nn
from torch.utils.data import Dataset

from mbos.datasets.loader import build_test_loader
from mbos.inference.test_sets import predict_batch
from mbos.metrics.sums_store import find_sums, remove_sums, save_sums
from mbos.runtime.environment import Environment

STORE = '.partial'
"""str: Folder in the work directory for sums of runs that are not done."""

Member = tuple[str, int]
"""tuple: Name of a test set and position of an image in it."""


class EvaluationError(ValueError):
    """An image that could not be evaluated."""


@dataclass
class Outcome:
    """What is known of the test sets of a group after a run.

    Attributes:
        places: For each test set, the files of the images that are done,
            by position.
        error: Why the others are not.
    """

    places: dict[str, dict[int, str]] = field(default_factory=dict)
    error: str | None = None


class _Images(Dataset):
    """Images of test sets, in the order of some members."""

    def __init__(self, datasets: Mapping[str, Dataset],
                 members: Sequence[Member]):
        self.datasets, self.members = datasets, members

    def __len__(self) -> int:
        return len(self.members)

    def __getitem__(self, item: int):
        name, index = self.members[item]
        return self.datasets[name][index]


def shared_members(datasets: Mapping[str, Dataset]) -> list[list[Member]]:
    """Members of test sets that are of one image file and pipeline."""
    members: dict[tuple, list[Member]] = {}
    for name, dataset in datasets.items():
        for index in range(len(dataset)):
            path = osp.realpath(dataset.image_path(index))
            key = (path, dataset.pipeline_text)
            members.setdefault(key, []).append((name, index))
    return list(members.values())


def group_test_sets(
        datasets: Mapping[str, Dataset]) -> list[dict[str, Dataset]]:
    """Put test sets that share an image into one group, in their order."""
    group_of = {name: {name} for name in datasets}
    for shared in shared_members(datasets):
        joined = set().union(*(group_of[name] for name, _ in shared))
        for name in joined:
            group_of[name] = joined
    groups = []
    for name in datasets:
        names = [n for n in datasets if n in group_of[name]]
        if names[0] == name:
            groups.append({n: datasets[n] for n in names})
    return groups


def evaluate_group(model: nn.Module, datasets: Mapping[str, Dataset],
                   cfg: Config, env: Environment, run_key: str) -> Outcome:
    """Run a network over test sets that share images.

    Sums of a run that ended early are used again where the image, its masks
    and ``run_key`` are the same.

    Args:
        model: The wrapped network, in evaluation mode.
        datasets: Test sets by name.
        cfg: For ``work_dir`` and the loader's workers.
        env: Where this process runs.
        run_key: Distinguishes what gives other sums from the same images:
            checkpoint, network, thresholds.

    Returns:
        Outcome: In every process; the places only in the first.
    """
    keys = {
        (name, i): image_key(f'{run_key} {name}', dataset, i)
        for name, dataset in datasets.items()
        for i in range(len(dataset))
    }
    folders = {name: osp.join(cfg.work_dir, STORE, name) for name in datasets}
    done = _start(folders, keys, env)
    error = None
    try:
        for member, sums in _new_sums(model, datasets, keys, done, cfg, env):
            save_sums(folders[member[0]], keys[member], sums)
    except EvaluationError as problem:
        error = str(problem)
    except KeyboardInterrupt:
        if env.distributed:
            raise
        error = 'Interrupted.'
    outcome = Outcome(error=_everyones(error, env))
    if env.is_main:
        for name, dataset in datasets.items():
            found = find_sums(folders[name])
            outcome.places[name] = {
                i: found[keys[name, i]]
                for i in range(len(dataset)) if keys[name, i] in found
            }
    if outcome.error is None:
        outcome.error = _everyones(_lost(outcome, datasets, cfg), env)
    return outcome


def _lost(outcome: Outcome, datasets, cfg: Config) -> str | None:
    """What to say if sums that were written are not there."""
    lost = [
        f'{len(datasets[name]) - len(places)} of {len(datasets[name])} of '
        f'{name}' for name, places in outcome.places.items()
        if len(places) < len(datasets[name])
    ]
    if not lost:
        return None
    return (f'{osp.join(cfg.work_dir, STORE)}: sums of evaluated images are '
            f'gone ({", ".join(lost)}). Did another evaluation use the same '
            'work directory, or do the machines not share it? Give each '
            'evaluation a --work-dir of its own, on a disk that all its '
            'processes see.')


def forget_sums(work_dir: str, name: str) -> None:
    """Remove the stored sums of a test set."""
    remove_sums(osp.join(work_dir, STORE, name))


def image_key(run_key: str, dataset: Dataset, index: int) -> str:
    """Name what the sums of an image depend on: other for other files, or the
    same ones written again. ``run_key`` is that of :func:`evaluate_group`.
    """
    files = [dataset.image_path(index)]
    files += [dataset.plane_path(index, task) for task in dataset.ann_dirs]
    files += [dataset.fov_path(index)] if dataset.fov_dir else []
    parts = [
        run_key, dataset.pipeline_text,
        repr((sorted((name, folder.classes, folder.binary)
                     for name, folder in dataset.truth.items()),
              dataset.binary_truth, dataset.ignore_index, dataset.threshold,
              dataset.operating_points))
    ]
    for file in files:
        state = os.stat(file)
        parts.append(f'{osp.abspath(file)} {state.st_size} '
                     f'{state.st_mtime_ns}')
    return hashlib.sha256('\n'.join(parts).encode()).hexdigest()


def _start(folders, keys, env) -> set[str]:
    """Agree on what is done already."""
    agreed: list[set] = [set()]
    if env.is_main:
        wanted = set(keys.values())
        for folder in folders.values():
            found = wanted & set(find_sums(folder))
            if not found:  # of another checkpoint, or of nothing
                shutil.rmtree(folder, ignore_errors=True)
            agreed[0] |= found
    if env.distributed:
        dist.broadcast_object_list(agreed, src=0)
    return agreed[0]


def _labelled(datasets, members) -> list[str] | None:
    """The tasks that are labelled on an image; None where these are all."""
    labelled = {t for name, _ in members for t in datasets[name].ann_dirs}
    known = {task.name for task in datasets[members[0][0]].tasks}
    return None if labelled == known else sorted(labelled)


def _everyones(error: str | None, env: Environment) -> str | None:
    """What went wrong in any process."""
    errors = [error]
    env.barrier()  # without a limit: shares may take unequal time
    if env.distributed:
        errors = [None] * env.world_size
        dist.all_gather_object(errors, error)
    return '\n'.join(e for e in errors if e) or None


@torch.no_grad()
def _new_sums(model, datasets, keys, done, cfg,
              env) -> Iterator[tuple[Member, dict]]:
    """Sums of this process's share of the images that are not done."""
    left = [
        members for members in shared_members(datasets)
        if any(keys[member] not in done for member in members)
    ]
    mine = left[env.rank::env.world_size]
    progress = mmcv.ProgressBar(len(left)) if env.is_main and left else None
    images = _Images(datasets, [members[0] for members in mine])
    loader = iter(build_test_loader(images, cfg, env, deal=False))
    for members in mine:
        name, index = members[0]
        path = datasets[name].image_path(index)
        try:
            prob = predict_batch(model, next(loader),
                                 _labelled(datasets, members))
            found = [((name, index), datasets[name].pre_eval(prob, index)[0])
                     for name, index in members]
        except (ValueError, RuntimeError, OSError) as problem:
            text = str(problem)
            raise EvaluationError(text if path in
                                  text else f'{path}: {text}') from problem
        yield from found
        if progress:
            for _ in range(
                    min(env.world_size,
                        len(left) - progress.completed)):
                progress.update()
