"""Evaluation of the test sets of a config."""
import os.path as osp
from collections.abc import Mapping
from dataclasses import dataclass, field

from mmcv import Config
from mmcv.utils import print_log
from mmseg.datasets import build_dataset
from torch import nn

import mbos
from mbos.config import build_checked, find_test_set, plain
from mbos.datasets import PartialLabelDataset
from mbos.datasets.checks import check_data
from mbos.datasets.evaluation_sets import build_val_set
from mbos.faults import InvalidConfigError
from mbos.io.files import file_sha256
from mbos.metrics.bootstrap import Bootstrap
from mbos.runtime.environment import Environment
from .files import write_evaluation
from .run import EvaluationError, evaluate_group, forget_sums, group_test_sets
from .thresholds import choose_thresholds, named_sets, require_apart

TRUTH_KEYS = ('ann_dirs', 'binary_truth', 'fov_dir')


@dataclass(frozen=True)
class EvaluationPlan:
    """What is to be found out about a checkpoint.

    Attributes:
        checkpoint: The file.
        bootstrap: How intervals are made; None for no intervals.
        chosen: Thresholds of :func:`choose_thresholds`, by task.
    """

    checkpoint: str
    bootstrap: Bootstrap | None = None
    chosen: Mapping[str, dict] = field(default_factory=dict)


def evaluate_test_sets(model: nn.Module, datasets: Mapping[str, object],
                       cfg: Config, env: Environment,
                       plan: EvaluationPlan) -> list[str]:
    """Print and write the metrics of test sets, each as soon as it is done.

    Args:
        model: The wrapped network, in evaluation mode.
        datasets: Test sets by the name that their files get;
            :func:`check_data` first.
        cfg: Completed by ``load_config``.
        env: Where this process runs.
        plan: What to find out.

    Returns:
        list[str]: The files written; none in other processes than the first.

    Raises:
        EvaluationError: If an image cannot be evaluated. The metrics of those
            that are done have been written then, marked as incomplete.
    """
    require_truth(datasets)
    for dataset in datasets.values():
        dataset.operating_points = {
            task: dict(val=chosen['thresholds'])
            for task, chosen in plan.chosen.items()
        }
    sha256 = file_sha256(plan.checkpoint)
    head = dict(
        checkpoint=plan.checkpoint,
        checkpoint_sha256=sha256,
        config=osp.basename(cfg.filename or ''))
    written = []
    for group in group_test_sets(datasets):
        outcome = evaluate_group(model, group, cfg, env, run_key(cfg, sha256))
        for name, places in outcome.places.items():
            if places:
                written += _write(cfg.work_dir, name, group[name], places,
                                  dict(head, error=outcome.error), plan)
        if outcome.error is not None:
            raise EvaluationError(_unfinished(outcome, group))
        env.barrier()
    return written


def thresholds_from_val(model: nn.Module, datasets: Mapping[str, object],
                        cfg: Config, env: Environment,
                        checkpoint: str) -> dict[str, dict]:
    """Choose thresholds on ``data.val`` for an evaluation of test sets.

    ``checkpoint`` is the file that the network was loaded from. Returns what
    :func:`choose_thresholds` gives.

    Raises:
        ValueError: If the config has no validation set, or one shares images
            with a test set.
    """
    if cfg.data.get('val') is None:
        raise ValueError('The config has no data.val to choose thresholds '
                         'on: name validation splits there.')
    val_sets = named_sets(build_val_set(cfg))
    require_apart(val_sets, datasets)
    check_data(list(val_sets.values()), env)
    return choose_thresholds(model, val_sets, cfg, env,
                             run_key(cfg, file_sha256(checkpoint)))


def run_key(cfg: Config, checkpoint_sha256: str) -> str:
    """Name what, besides an image, its sums depend on."""
    return f'{mbos.__version__} {checkpoint_sha256} {plain(cfg.model)!r}'


def require_truth(datasets: Mapping[str, object]) -> None:
    """Refuse test sets without ground truth, which cannot be scored."""
    for name, dataset in datasets.items():
        if not dataset.ann_dirs:
            raise ValueError(
                f'Test set {name!r} has no ground truth (ann_dirs), so there '
                'is nothing to evaluate; --vis only needs images.')


def _write(folder, name, dataset, places, head, plan):
    """Print and write the metrics of one test set."""
    indices = sorted(places)
    complete = len(indices) == len(dataset)
    reports = dataset.compute([places[i] for i in indices],
                              indices=indices,
                              bootstrap=plan.bootstrap,
                              curves=True)
    print_log('')  # the progress bar has left its line open
    dataset.print_tables(reports)
    head = dict(
        dataset=name,
        complete=complete,
        images=len(indices),
        images_expected=len(dataset),
        **{
            k: v
            for k, v in head.items() if v is not None or k != 'error'
        })
    if complete:
        head.pop('error', None)
    written = write_evaluation(folder, dataset, reports, head, plan.bootstrap,
                               plan.chosen)
    if complete:
        forget_sums(folder, name)
    return written


def _unfinished(outcome, group):
    """Say what is left to do."""
    done = ', '.join(f'{name} {len(places)} of {len(group[name])}'
                     for name, places in outcome.places.items())
    return (f'{outcome.error}\nImages done: {done}. Their metrics are written '
            'with "complete": false; the same command goes on from there.')


def build_test_set(cfg: Config, name: str = '', with_truth: bool = True):
    """The test set of a config, in test mode.

    ``name`` is one of ``test_sets``; '' is ``data.test``. Without truth,
    images are enough.

    Raises:
        ValueError: If the config has no such test set.
    """
    where = f'test_sets.{name}' if name else 'data.test'
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
