"""Evaluation of the test sets of a config."""
import os.path as osp
from collections.abc import Mapping
from dataclasses import dataclass, field

from mmcv import Config
from mmcv.utils import print_log
from mmseg.datasets import build_dataset
from torch import nn

from mbos.config import build_checked, find_test_set
from mbos.datasets import PartialLabelDataset
from mbos.faults import InvalidConfigError
from mbos.io.files import file_sha256
from mbos.metrics.bootstrap import Bootstrap
from mbos.runtime.environment import Environment
from .files import write_evaluation
from .run import evaluate_in_turn

TRUTH_KEYS = ('ann_dirs', 'fov_dir')


@dataclass(frozen=True)
class EvaluationPlan:
    """What is to be found out about a checkpoint file: intervals, if a
    ``bootstrap`` says how, and metrics at thresholds that
    :func:`thresholds_from_val` has chosen.
    """

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
        if not env.is_main:
            continue
        dataset = datasets[name]
        reports = dataset.compute(paths, bootstrap=plan.bootstrap)
        print_log('')  # the progress bar has left its line open
        dataset.print_tables(reports)
        head.update(dataset=name, images=len(paths))
        written += write_evaluation(cfg.work_dir, dataset, reports, head,
                                    plan.chosen)
    env.barrier()
    return written


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
        test_set = {k: v for k, v in test_set.items() if k not in TRUTH_KEYS}
    dataset = build_checked(build_dataset, test_set, dict(test_mode=True))
    if not isinstance(dataset, PartialLabelDataset):
        raise InvalidConfigError(
            f'{where}.type is {test_set["type"]}, expected '
            'PartialLabelDataset, or a subclass of it.')
    return dataset
