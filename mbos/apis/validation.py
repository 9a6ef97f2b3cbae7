"""What training validates on: not on test images, unless asked to."""
import os.path as osp
from typing import Dict, List

from mmcv import Config

from .config import member_datasets


def validated_test_images(cfg: Config) -> Dict[str, List[str]]:
    """Find the validation sets whose images are those of a test set.

    Args:
        cfg (Config): Completed by ``load_config``.

    Returns:
        dict[str, list[str]]: Names of test sets by name of validation set.
    """
    tests = {}
    for dataset in (cfg.get('test_sets') or {}).values():
        tests.setdefault(_images(dataset), []).append(dataset['name'])
    if cfg.data.get('test'):
        dataset = cfg.data.test
        names = tests.setdefault(_images(dataset), [])
        if dataset['name'] not in names:
            names.append(dataset['name'])
    return {
        dataset['name']: tests[_images(dataset)]
        for dataset in member_datasets(cfg.data.val)
        if _images(dataset) in tests
    }


def _images(dataset):
    folder = osp.join(dataset.get('data_root') or '', dataset['img_dir'])
    return osp.realpath(folder), dataset.get('split')


def warn_of_test_images(cfg: Config, logger) -> None:
    """Say loudly if validation looks at test images.

    Args:
        cfg (Config): Completed by ``load_config``.
        logger (logging.Logger): Warned.

    Raises:
        ValueError: If the best checkpoint would be chosen on them.
    """
    found = validated_test_images(cfg)
    if not found:
        return
    pairs = ', '.join(f'{val} (test set {", ".join(tests)})'
                      for val, tests in found.items())
    if cfg.evaluation.get('save_best'):
        raise ValueError(
            f'data.val has test images: {pairs}. The best checkpoint '
            '(evaluation.save_best) must not be chosen on them: name '
            'validation splits in data.val, or set '
            'evaluation.save_best=None.')
    logger.warning(
        'VALIDATION ON TEST IMAGES: %s. Figures logged during training are '
        'test figures: do not choose a checkpoint, a setting or the length '
        'of training by them.', pairs)
