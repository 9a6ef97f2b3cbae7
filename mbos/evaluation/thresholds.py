"""Thresholds chosen on the validation sets, never on test sets."""
import os.path as osp
from collections.abc import Mapping

import torch.distributed as dist
from mmcv import Config
from torch import nn

from mbos.metrics.report import gather
from mbos.metrics.score_curves import best_threshold
from mbos.metrics.sums_store import StoredSums
from mbos.runtime.environment import Environment
from .run import EvaluationError, evaluate_group, forget_sums, group_test_sets

FALLBACK = 0.5
"""float: Threshold of a class that occurs in no validation image."""


def choose_thresholds(model: nn.Module, val_sets: Mapping[str,
                                                          object], cfg: Config,
                      env: Environment, key: str) -> dict[str, dict]:
    """Find the threshold of every class with the highest pooled Dice.

    A set counts for the classes that it labels. Sets of ``binary_truth`` are
    left out. ``key`` is the ``run_key`` of the evaluation.

    Returns:
        dict[str, dict]: By task that a set labels: ``sets``, their names;
        ``thresholds`` and ``Dice`` by class (0.5 and None for a class that
        does not occur). The same in every process.

    Raises:
        EvaluationError: If an image cannot be evaluated.
    """
    counts, sets = {}, {}
    for group in group_test_sets(val_sets):
        outcome = evaluate_group(model, group, cfg, env, key)
        if outcome.error is not None:
            raise EvaluationError(outcome.error)
        for name, places in outcome.places.items():
            for task in scored_tasks(group[name]):
                sets.setdefault(task, []).append(name)
                stored = StoredSums([places[i] for i in sorted(places)],
                                    task.name)
                scored = group[name].scored_task(task)
                _, scores = gather(stored, scored)
                for label, own in zip(scored.classes,
                                      scores[:, 0].swapaxes(0, 1)):
                    counts[task, label] = own + counts.get((task, label), 0)
    chosen = {
        task.name: _choice(task, counts, names)
        for task, names in sets.items()
    }
    agreed = [chosen]
    if env.distributed:
        dist.broadcast_object_list(agreed, src=0)
    if env.is_main:
        for name in val_sets:
            forget_sums(cfg.work_dir, name)
    return agreed[0]


def scored_tasks(dataset) -> list:
    """The tasks whose thresholds a set can show."""
    return [
        task for task in dataset.tasks if task.name in dataset.ann_dirs
        and task.name not in dataset.binary_truth
    ]


def _choice(task, counts, sets):
    best = {
        label: (task, label) in counts and best_threshold(*counts[task, label])
        for label in task.classes
    }
    return dict(
        sets=sets,
        thresholds={
            n: b.threshold if b else FALLBACK
            for n, b in best.items()
        },
        Dice={
            n: b.dice if b else None
            for n, b in best.items()
        })


def require_apart(val_sets: Mapping[str, object],
                  test_sets: Mapping[str, object]) -> None:
    """Refuse to choose thresholds on images that will be tested on.

    Raises:
        ValueError: If a validation set and a test set share an image.
    """
    owner = {}
    for name, dataset in val_sets.items():
        for index in range(len(dataset)):
            owner[osp.realpath(dataset.image_path(index))] = name
    for name, dataset in test_sets.items():
        for index in range(len(dataset)):
            path = osp.realpath(dataset.image_path(index))
            if path in owner:
                raise ValueError(
                    f'Thresholds cannot be chosen on data.val: its set '
                    f'{owner[path]!r} and the test set {name!r} share images '
                    f'({path}). Name validation splits in data.val.')


def named_sets(dataset) -> dict[str, object]:
    """The single sets of ``data.val``, by name."""
    members: tuple = tuple(getattr(dataset, 'datasets', (dataset, )))
    return {member.name: member for member in members}
