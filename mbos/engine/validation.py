"""What training validates on: not on test images, unless asked to.

And by what, which is found out before training rather than after it began.
"""
import difflib
import os.path as osp

from mmcv import Config

from mbos.config import member_datasets
from mbos.datasets.label_folder import labelled_classes, read_entry
from mbos.faults import InvalidConfigError
from mbos.io import read_text
from mbos.tasks import build_tasks


def validated_test_images(cfg: Config) -> dict[str, list[str]]:
    """Find the validation sets whose images are those of a test set.

    Entries of ``test_sets`` that end in ``_val`` are validation photographs,
    named so that they can be scored by themselves.
    """
    test_sets = {
        name: dataset
        for name, dataset in (cfg.get('test_sets') or {}).items()
        if not name.endswith('_val')
    }
    tests = list(test_sets.items())
    test = cfg.data.get('test')
    if isinstance(test, dict) and test not in test_sets.values():
        tests.append((test.get('name', 'data.test'), test))
    found = {
        val['name']: [
            name for name, dataset in tests if 'img_dir' in dataset
            and _overlap(_images(val), _images(dataset))
        ]
        for val in member_datasets(cfg.data.val)
        if 'name' in val and 'img_dir' in val
    }
    return {name: names for name, names in found.items() if names}


def _images(dataset):
    """Folder of a dataset's images and its split file, None for all."""
    root, split = dataset.get('data_root') or '', dataset.get('split')
    folder = osp.realpath(osp.join(root, dataset['img_dir']))
    return folder, split and osp.realpath(osp.join(root, split))


def _overlap(one, two) -> bool:
    (folder, split), (other_folder, other_split) = one, two
    if folder != other_folder:
        return False
    if None in (split, other_split) or split == other_split:
        return True
    return bool(_stems(split) & _stems(other_split))


def _stems(split: str) -> set[str]:
    """Lines of a split file; none of one that the dataset will refuse."""
    try:
        return {line.strip() for line in read_text(split).splitlines()} - {''}
    except (OSError, ValueError):
        return set()


def warn_of_test_images(cfg: Config, logger) -> None:
    """Say loudly if validation looks at test images.

    Raises:
        InvalidConfigError: If the best checkpoint would be chosen on them.
    """
    found = validated_test_images(cfg)
    if not found:
        return
    pairs = ', '.join(f'{val} (test set {", ".join(tests)})'
                      for val, tests in found.items())
    if cfg.evaluation.get('save_best'):
        raise InvalidConfigError(
            f'data.val has test images: {pairs}. The best checkpoint '
            '(evaluation.save_best) must not be chosen on them: name '
            'validation splits in data.val, or set '
            'evaluation.save_best=None.')
    logger.warning(
        'VALIDATION ON TEST IMAGES: %s. Metrics logged during training are '
        'test metrics: do not choose a checkpoint, a setting or the length '
        'of training by them.', pairs)


def check_save_best(cfg: Config) -> None:
    """Refuse to choose the best checkpoint by a metric that nobody computes.

    Raises:
        InvalidConfigError: Naming the metrics that there are.
    """
    chosen = cfg.evaluation.get('save_best')
    if chosen in (None, 'auto', 'mDice', 'mIoU'):
        return
    tasks = {task.name: task for task in build_tasks(cfg.model.tasks)}
    known = ['mDice', 'mIoU']
    for dataset in member_datasets(cfg.data.val):
        if dataset['type'] != 'PartialLabelDataset':
            return  # somebody's own, with metrics of its own
        for name, entry in (dataset.get('ann_dirs') or {}).items():
            labelled = read_entry(entry, tasks[name]).classes
            for metric in ('Dice', 'IoU'):
                known += [
                    f'{dataset["name"]}.{name}.{figure}'
                    for figure in (f'm{metric}', f'{metric}.background',
                                   *(f'{metric}.{label}'
                                     for label in labelled))
                ]
    if chosen in known:
        return
    alike = difflib.get_close_matches(str(chosen), known, 3, 0.5) or known[:6]
    raise InvalidConfigError(
        f'evaluation.save_best is {chosen!r}, which data.val does not give: '
        f'use {", ".join(alike)}, or None to keep no best checkpoint.')


def warn_of_unlabelled_classes(cfg: Config, logger) -> None:
    """Say which classes have no truth, although others of their task have."""
    members = member_datasets(cfg.data.train)
    for task in build_tasks(cfg.model.tasks):
        labelled = labelled_classes(task, members)
        missing = [name for name in task.classes if name not in labelled]
        if labelled and missing:
            logger.warning(
                'No dataset of data.train labels %s of task %r, so what the '
                'network predicts of it means nothing: take it out of the '
                "task's classes, or add a dataset that labels it.",
                ', '.join(missing), task.name)


def warn_of_unread_pseudo_labels(cfg: Config, logger) -> None:
    """Say that stage 1 learns from ground truth alone."""
    if cfg.model.type != 'MultiTaskSegmentor':
        return
    names = [
        dataset['name'] for dataset in member_datasets(cfg.data.train)
        if dataset.get('pseudo_dirs')
    ]
    if names:
        logger.warning(
            'Stage 1 learns from ground truth alone: pseudo_dirs of %s are '
            'not read by any loss. They are for stage 2 '
            '(AdversarialSegmentor).', ', '.join(names))
