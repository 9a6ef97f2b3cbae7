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
from mbos.metrics.scores import best_threshold
from mbos.metrics.sums import StoredSums
from mbos.metrics.tables import gather
from mbos.runtime.environment import Environment
from .test import evaluate_in_turn


def thresholds_from_val(model: nn.Module, datasets: Mapping, cfg: Config,
                        env: Environment, checkpoint: str) -> dict[str, dict]:
    """Choose thresholds on ``data.val`` for an evaluation of test sets: for
    each class the one of the highest Dice over the pixels of all sets that
    label it.

    Returns by task that a set labels, the same in every process: ``sets``,
    their names; ``thresholds`` and ``Dice`` by class (0.5 and None for a class
    that does not occur). A ValueError is raised if the config has no
    validation set, or one shares images with a test set."""
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
            if task.name not in dataset.truth:
                continue
            scored = dataset.scored_task(task)
            sets, counts, _ = found.setdefault(task.name, ([], {}, task))
            sets.append(name)
            _, scores = gather(StoredSums(paths, task.name), scored)
            for index, label in enumerate(scored.classes):
                counts[label] = counts.get(label, 0) + scores[:, 0, index]
    chosen = [{name: _choice(*own) for name, own in found.items()}]
    if env.distributed:
        dist.broadcast_object_list(chosen, src=0)
    return chosen[0]


def _choice(sets, counts, task) -> dict:
    nothing = np.zeros((2, 2))
    best = [best_threshold(*counts.get(c, nothing)) for c in task.classes]
    thresholds, dice = (dict(zip(task.classes, own)) for own in zip(*best))
    return dict(sets=sets, thresholds=thresholds, Dice=dice)


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
