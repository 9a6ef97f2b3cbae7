"""What a run looks at before it begins: labels, validation, first images.

Pipelines, heads, schedules and test settings that do not fit each other fail
here, in one sentence, rather than at the first validation, hours later.
"""
import difflib
import logging
import os.path as osp

import torch
from mmcv import Config
from mmcv.runner import LrUpdaterHook
from mmcv.runner.hooks.momentum_updater import MomentumUpdaterHook

from mbos.config import member_datasets
from mbos.datasets import PartialLabelDataset
from mbos.datasets.label_folder import labelled_classes, read_entries
from mbos.datasets.loader import collate_samples
from mbos.faults import InvalidConfigError, blamed_on
from mbos.inference.test_sets import first_sample, predict_first
from mbos.io import read_text
from mbos.tasks import build_tasks
from .runner import CheckedIterRunner

DRAWS = 3  # of an image, as transforms draw whether to do anything


def validated_test_images(cfg: Config) -> dict[str, list[str]]:
    """Find the validation sets whose images are those of a test set.

    Entries of ``test_sets`` that end in ``_val`` are validation photographs,
    named so that they can be scored by themselves.
    """
    tests = dict(cfg.get('test_sets') or {})
    test = cfg.data.get('test')
    if isinstance(test, dict) and test not in tests.values():
        tests[test.get('name', 'data.test')] = test
    found = {}
    for val in member_datasets(cfg.data.val):
        folder, names = _images(val)
        for name, test in tests.items():
            other_folder, others = _images(test)
            if not name.endswith('_val') and folder == other_folder and (
                    not names or not others or names & others):
                found.setdefault(val['name'], []).append(name)
    return found


def _images(dataset: dict) -> tuple[object, set[str]]:
    """Folder of a dataset's images, and the names of its split, if any."""
    if 'img_dir' not in dataset:
        return object(), set()  # of a type of one's own: equal to no other
    root, split = dataset.get('data_root') or '', dataset.get('split')
    folder = osp.realpath(osp.join(root, dataset['img_dir']))
    try:
        lines = read_text(osp.join(root, split)).splitlines() if split else []
    except (OSError, ValueError):  # the dataset will refuse it
        lines = [split]
    return folder, {line.strip() for line in lines} - {''}


def check_validation(cfg: Config, val_set, logger: logging.Logger) -> None:
    """Say loudly if validation looks at test images, and refuse to choose the
    best checkpoint on them, or by a metric that nobody computes."""
    chosen, found = cfg.evaluation.get('save_best'), validated_test_images(cfg)
    pairs = ', '.join(f'{val} (test set {", ".join(tests)})'
                      for val, tests in found.items())
    if found and chosen:
        raise InvalidConfigError(
            f'data.val has test images: {pairs}. The best checkpoint must not '
            'be chosen on them: name validation splits in data.val, or set '
            'evaluation.save_best=None.')
    if found:
        logger.warning(
            f'VALIDATION ON TEST IMAGES: {pairs}. Metrics logged during '
            'training are test metrics: do not choose a checkpoint, a setting '
            'or the length of training by them.')
    known = ['mDice', 'mIoU']
    for dataset in val_set.datasets:
        if type(dataset) is not PartialLabelDataset:
            return  # sets of one's own may have metrics of their own
        for task, folder in dataset.truth.items():
            for metric in ('Dice', 'IoU'):
                labels = f'm{metric}', f'{metric}.background', *(
                    f'{metric}.{name}' for name in folder.classes)
                known += [f'{dataset.name}.{task}.{n}' for n in labels]
    if chosen not in (None, 'auto', *known):
        alike = difflib.get_close_matches(str(chosen), known, 3, 0.5)
        raise InvalidConfigError(
            f'evaluation.save_best is {chosen!r}, which data.val does not '
            f'give: use {", ".join(alike or known[:6])}, or None to keep no '
            'best checkpoint.')


def warn_of_useless_labels(cfg: Config, logger: logging.Logger) -> None:
    """Say which classes have no truth although others of their task have, and
    that stage 1 learns from ground truth alone."""
    members = member_datasets(cfg.data.train)
    tasks = build_tasks(cfg.model.tasks)
    truths = [read_entries(m, 'ann_dirs', tasks) for m in members]
    for task in tasks:
        labelled = labelled_classes(task, truths)
        missing = [name for name in task.classes if name not in labelled]
        if labelled and missing:
            logger.warning(
                f'No dataset of data.train labels {", ".join(missing)} of '
                f'task {task.name!r}, so what the network predicts of it means'
                " nothing: take it out of the task's classes, or add a "
                'dataset that labels it.')
    names = ', '.join(m['name'] for m in members if m.get('pseudo_dirs'))
    if names and cfg.model.type == 'MultiTaskSegmentor':
        logger.warning(f'pseudo_dirs of {names} are for stage 2 '
                       '(AdversarialSegmentor): stage 1 does not read them.')


def rehearse(runner: CheckedIterRunner, train_set, items: int,
             val_set) -> None:
    """Let the first image of each dataset go the way of all others, and refuse
    the config at the first step that fails; ``items`` of the training data
    make a batch. Weights and buffers are afterwards what they were."""
    schedules = LrUpdaterHook, MomentumUpdaterHook
    runner.call_hook('before_run', schedules)
    runner.call_hook('before_train_iter', schedules)
    for dataset in train_set.datasets:
        for draw in range(DRAWS):
            first_sample(dataset, 'data.train', draw)
    with blamed_on(
            'data.train: the samples of its datasets do not make a batch',
            'Let each training pipeline end with FormatPlanes.'):
        batch = collate_samples([train_set[i] for i in range(items)])
    model = runner.model
    buffers = {name: b.clone() for name, b in model.named_buffers()}
    model.train()
    with blamed_on(
            'The network cannot be trained on the first images as the config '
            'has it', 'Make backbone, heads and losses fit each other: '
            'in_channels, in_index, number of tasks, size of the images.'):
        model.train_step(batch, None, backward=torch.Tensor.backward)
    model.load_state_dict(buffers, strict=False)
    model.zero_grad(set_to_none=True)
    sets = () if val_set is None else val_set.datasets
    predict_first(model, sets, 'data.val', score=True)
    model.train()
