"""What training validates on, and what it says of its data beforehand."""
import difflib
import logging
import os.path as osp
from collections.abc import Iterator

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
    tests = dict(cfg.get('test_sets') or {})
    test = cfg.data.get('test')
    if isinstance(test, dict) and test not in tests.values():
        tests[test.get('name', 'data.test')] = test
    tests = {
        name: images
        for name, dataset in tests.items()
        if not name.endswith('_val') and (images := _images(dataset))
    }
    found = {
        val['name']:
        [name for name, images in tests.items() if _overlap(own, images)]
        for val in member_datasets(cfg.data.val) if (own := _images(val))
    }
    return {name: names for name, names in found.items() if names}


def _images(dataset: dict) -> tuple[str, set[str] | None] | None:
    """Folder and names of a dataset's images; None as names for all."""
    if 'img_dir' not in dataset or 'name' not in dataset:
        return None
    root, split = dataset.get('data_root') or '', dataset.get('split')
    folder = osp.realpath(osp.join(root, dataset['img_dir']))
    if not split:
        return folder, None
    try:
        lines = read_text(osp.join(root, split)).splitlines()
    except (OSError, ValueError):  # the dataset will refuse it
        return folder, set()
    return folder, {line.strip() for line in lines} - {''}


def _overlap(one: tuple, two: tuple) -> bool:
    (folder, names), (other_folder, other_names) = one, two
    return folder == other_folder and (names is None or other_names is None
                                       or bool(names & other_names))


def check_validation(cfg: Config, logger: logging.Logger) -> None:
    """Say loudly if validation looks at test images, and refuse to choose the
    best checkpoint on them, or by a metric that nobody computes.

    Raises:
        InvalidConfigError: If ``evaluation.save_best`` cannot be done.
    """
    chosen, found = cfg.evaluation.get('save_best'), validated_test_images(cfg)
    pairs = ', '.join(f'{val} (test set {", ".join(tests)})'
                      for val, tests in found.items())
    if found and chosen:
        raise InvalidConfigError(
            f'data.val has test images: {pairs}. The best checkpoint '
            '(evaluation.save_best) must not be chosen on them: name '
            'validation splits in data.val, or set '
            'evaluation.save_best=None.')
    if found:
        logger.warning(
            f'VALIDATION ON TEST IMAGES: {pairs}. Metrics logged during '
            'training are test metrics: do not choose a checkpoint, a setting '
            'or the length of training by them.')
    members = member_datasets(cfg.data.val)
    own = any(m['type'] != 'PartialLabelDataset' for m in members)
    known = ['mDice', 'mIoU', *_metrics(cfg, members)]
    if own or chosen in (None, 'auto', *known):
        return  # sets of one's own may have metrics of their own
    alike = difflib.get_close_matches(str(chosen), known, 3, 0.5) or known[:6]
    raise InvalidConfigError(
        f'evaluation.save_best is {chosen!r}, which data.val does not give: '
        f'use {", ".join(alike)}, or None to keep no best checkpoint.')


def _metrics(cfg: Config, members: list[dict]) -> Iterator[str]:
    """Names that an evaluation of PartialLabelDatasets gives."""
    tasks = {task.name: task for task in build_tasks(cfg.model.tasks)}
    for dataset in members:
        for task, entry in (dataset.get('ann_dirs') or {}).items():
            if task not in tasks:
                continue  # which building the dataset says
            where = f'{dataset["name"]}.{task}'
            for metric in ('Dice', 'IoU'):
                yield f'{where}.m{metric}'
                for label in ('background',
                              *read_entry(entry, tasks[task]).classes):
                    yield f'{where}.{metric}.{label}'


def warn_of_useless_labels(cfg: Config, logger: logging.Logger) -> None:
    """Say which classes have no truth although others of their task have, and
    that stage 1 learns from ground truth alone."""
    members = member_datasets(cfg.data.train)
    for task in build_tasks(cfg.model.tasks):
        labelled = labelled_classes(task, members)
        missing = [name for name in task.classes if name not in labelled]
        if labelled and missing:
            logger.warning(
                f'No dataset of data.train labels {", ".join(missing)} of '
                f'task {task.name!r}, so what the network predicts of it means'
                " nothing: take it out of the task's classes, or add a "
                'dataset that labels it.')
    names = [m['name'] for m in members if m.get('pseudo_dirs')]
    if names and cfg.model.type == 'MultiTaskSegmentor':
        logger.warning(
            'Stage 1 learns from ground truth alone: pseudo_dirs of '
            f'{", ".join(names)} are not read by any loss. They are for stage '
            '2 (AdversarialSegmentor).')
