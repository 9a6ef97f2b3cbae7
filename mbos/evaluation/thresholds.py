"""Thresholds chosen on the validation sets, never on test sets."""
import os.path as osp
from collections.abc import Mapping

import numpy as np
import torch.distributed as dist
from mmcv import Config
from torch import nn

from mbos.datasets.checks import check_data
from mbos.datasets.scoring import build_val_set
from mbos.io.files import file_sha256
from mbos.metrics.report import gather
from mbos.metrics.scores import best_threshold
from mbos.metrics.sums import StoredSums
from mbos.runtime.environment import Environment
from .test import evaluate_in_turn


def thresholds_from_val(model: nn.Module, datasets: Mapping, cfg: Config,
                        env: Environment, checkpoint: str) -> dict[str, dict]:
    """Choose thresholds on ``data.val`` for an evaluation of test sets.

    A class gets the threshold of the highest Dice over the pixels of all sets
    that label it.

    Returns:
        dict[str, dict]: By task that a set labels: ``sets``, their names;
        ``thresholds`` and ``Dice`` by class (0.5 and None for a class that
        does not occur). The same in every process.

    Raises:
        ValueError: If the config has no validation set, one shares images with
            a test set, or an image cannot be evaluated.
    """
    if cfg.data.get('val') is None:
        raise ValueError('The config has no data.val to choose thresholds '
                         'on: name validation splits there.')
    whole = build_val_set(cfg)
    val_sets = {one.name: one for one in getattr(whole, 'datasets', [whole])}
    _require_apart(val_sets, datasets)
    check_data(list(val_sets.values()), env)
    found: dict = {}
    for name, paths in evaluate_in_turn(model, val_sets, cfg, env,
                                        file_sha256(checkpoint)):
        dataset = val_sets[name]
        for task in dataset.tasks if paths else ():
            if task.name in dataset.truth:
                scored = dataset.scored_task(task)
                sets, counts = found.setdefault(task.name, ([], {}))
                sets.append(name)
                _, scores = gather(StoredSums(paths, task.name), scored)
                for index, label in enumerate(scored.classes):
                    counts[label] = counts.get(label, 0) + scores[:, 0, index]
    classes = {task.name: task.classes for task in dataset.tasks}
    chosen = [{
        task: _choice(classes[task], sets, counts)
        for task, (sets, counts) in found.items()
    }]
    if env.distributed:
        dist.broadcast_object_list(chosen, src=0)
    return chosen[0]


def _choice(classes, sets, counts) -> dict:
    nothing = np.zeros((2, 2))
    best = {c: best_threshold(*counts.get(c, nothing)) for c in classes}
    return dict(
        sets=sets,
        thresholds={
            c: threshold
            for c, (threshold, _) in best.items()
        },
        Dice={
            c: dice
            for c, (_, dice) in best.items()
        })


def _require_apart(val_sets: Mapping, test_sets: Mapping) -> None:
    """Refuse to choose thresholds on images that will be tested on."""
    val, test = ({
        osp.realpath(dataset.image_path(i)): name
        for name, dataset in datasets.items()
        for i in range(len(dataset))
    } for datasets in (val_sets, test_sets))
    for path in val.keys() & test.keys():
        raise ValueError(
            f'Thresholds cannot be chosen on data.val: its set {val[path]!r} '
            f'and the test set {test[path]!r} share images ({path}). Name '
            'validation splits in data.val.')
