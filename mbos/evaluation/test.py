"""Evaluation of test sets: one network pass per image, sums on disk.

Images are dealt out to the processes one by one; no image is evaluated twice,
and a process may get none. Sums of a run that ended early are used again where
nothing that they depend on has changed.
"""
import hashlib
import os
import os.path as osp
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import mmcv
import torch
import torch.distributed as dist
from mmcv import Config
from mmseg.datasets import build_dataset
from torch import nn
from torch.utils.data import Subset

import mbos
from mbos.config import build_checked, find_test_set, plain
from mbos.datasets import PartialLabelDataset
from mbos.datasets.loader import build_test_loader
from mbos.faults import InvalidConfigError
from mbos.inference.test_sets import predict_batch
from mbos.io.files import file_sha256
from mbos.metrics.bootstrap import Bootstrap
from mbos.metrics.sums import remove_sums, save_sums
from mbos.runtime.environment import Environment
from .report import write_evaluation

STORE = '.partial'  # of the work directory: sums of runs that are not done


class EvaluationError(ValueError):
    """An image that could not be evaluated."""


@dataclass(frozen=True)
class EvaluationPlan:
    """What is to be found out about a checkpoint file: intervals, if a
    ``bootstrap`` says how, and metrics at thresholds that
    :func:`thresholds_from_val` has chosen."""

    checkpoint: str
    bootstrap: Bootstrap | None = None
    chosen: Mapping[str, dict] = field(default_factory=dict)


def evaluate_test_sets(model: nn.Module, datasets: Mapping, cfg: Config,
                       env: Environment, plan: EvaluationPlan) -> list[str]:
    """Print and write the metrics of test sets, each as soon as it is done;
    returns the files, none in other processes than the first. The sets have
    been checked by :func:`check_data`, and have the names of their files.

    Raises:
        EvaluationError: If an image cannot be evaluated. What is done is used
            by the next evaluation of the same.
    """
    for name, dataset in datasets.items():
        if not dataset.truth:
            raise ValueError(
                f'Test set {name!r} has no ground truth (ann_dirs), so there '
                'is nothing to evaluate; --vis only needs images.')
        dataset.operating_points = {
            task: dict(val=chosen['thresholds'])
            for task, chosen in plan.chosen.items()
        }
    head = dict(
        checkpoint=plan.checkpoint,
        checkpoint_sha256=file_sha256(plan.checkpoint),
        config=osp.basename(cfg.filename or ''),
        bootstrap=plan.bootstrap and vars(plan.bootstrap))
    written = []
    for name, paths in evaluate_in_turn(model, datasets, cfg, env,
                                        head['checkpoint_sha256']):
        if env.is_main:
            reports = datasets[name].compute(paths, bootstrap=plan.bootstrap)
            datasets[name].print_tables(reports)
            head.update(dataset=name, images=len(paths))
            written += write_evaluation(cfg.work_dir, datasets[name], reports,
                                        head, plan.chosen)
    env.barrier()
    return written


def evaluate_in_turn(
        model: nn.Module, datasets: Mapping, cfg: Config, env: Environment,
        checkpoint_sha256: str) -> Iterator[tuple[str, list[str]]]:
    """Run the network of a checkpoint over test sets, one after the other.

    Yields the name of each set and, in the first process, the files with the
    sums of its images, in order, which are removed when the caller asks for
    the next set. An EvaluationError is raised in all processes, if one cannot
    evaluate an image; sums of those that are done wait for the next run."""
    run_key = f'{mbos.__version__} {checkpoint_sha256} {plain(cfg.model)!r}'
    for name, dataset in datasets.items():
        folder = osp.join(cfg.work_dir, STORE, name)
        keys = (_image_key(run_key, dataset, i) for i in range(len(dataset)))
        paths = [osp.join(folder, f'{key}.npz') for key in keys]
        left = [i for i, path in enumerate(paths) if not osp.exists(path)]
        errors: list[str | None] = [None]
        env.barrier()  # all have looked before any writes
        try:
            _evaluate(model, dataset, left, paths, cfg, env)
        except EvaluationError as problem:
            errors = [str(problem)]
        env.barrier()  # without a limit: shares may take unequal time
        if env.distributed:
            own, errors = errors[0], [None] * env.world_size
            dist.all_gather_object(errors, own)
        if any(errors):
            raise EvaluationError('\n'.join(filter(None, errors)))
        yield name, paths if env.is_main else []
        if env.is_main:
            remove_sums(folder)


def _image_key(run_key: str, dataset, index: int) -> str:
    """Name what the sums of an image depend on: other for other files, or the
    same ones written again."""
    files = [dataset.image_path(index)]
    files += [f.file(dataset.stems[index]) for f in dataset.mask_folders()]
    states = [(osp.abspath(file), state.st_size, state.st_mtime_ns)
              for file in files for state in [os.stat(file)]]
    truth = [(name, folder.classes, folder.binary)
             for name, folder in sorted(dataset.truth.items())]
    parts = (run_key, dataset.pipeline_text, dataset.ignore_index,
             dataset.threshold, dataset.operating_points, truth, states)
    return hashlib.sha256(repr(parts).encode()).hexdigest()


@torch.no_grad()
def _evaluate(model, dataset, left: Sequence[int], paths: Sequence[str], cfg,
              env) -> None:
    """Evaluate this process's share of the images that are left."""
    mine = left[env.rank::env.world_size]
    loader = iter(
        build_test_loader(Subset(dataset, mine), cfg, env, deal=False))
    shown = mmcv.track_iter_progress(mine) if env.is_main and mine else mine
    for index in shown:
        path = dataset.image_path(index)
        try:
            prob = predict_batch(model, next(loader), list(dataset.truth))
            sums, = dataset.pre_eval(prob, index)
        except (ValueError, RuntimeError, OSError) as problem:
            text = str(problem)
            raise EvaluationError(text if path in
                                  text else f'{path}: {text}') from problem
        save_sums(paths[index], sums)


def build_test_set(cfg: Config, name: str = '', with_truth: bool = True):
    """A test set of a config, in test mode: one of ``test_sets``, or
    ``data.test`` by its name or without one. Without truth, images are enough.
    """
    others = cfg.get('test_sets') or {}
    where = f'test_sets.{name}' if name in others else 'data.test'
    test_set = find_test_set(cfg, name) if name else cfg.data.get('test')
    if not isinstance(test_set, dict):
        raise InvalidConfigError(
            f'{where} is {"missing" if test_set is None else "a list"}: give '
            'the dict of a dataset, or name others with --datasets.')
    if not with_truth:
        truth = ('ann_dirs', 'fov_dir')
        test_set = {k: v for k, v in test_set.items() if k not in truth}
    dataset = build_checked(build_dataset, test_set, dict(test_mode=True))
    if not isinstance(dataset, PartialLabelDataset):
        raise InvalidConfigError(
            f'{where}.type is {test_set["type"]}, expected '
            'PartialLabelDataset, or a subclass of it.')
    return dataset
