"""What training validates on: not on test images, unless asked to."""
import os.path as osp
from typing import Dict, List, Set

from mmcv import Config

from untrusted import read_text
from .config import member_datasets


def validated_test_images(cfg: Config) -> Dict[str, List[str]]:
    """Find the validation sets whose images are those of a test set.

    Args:
        cfg (Config): Completed by ``load_config``.

    Returns:
        dict[str, list[str]]: Names of test sets by name of validation set.
    """
    tests = {
        dataset['name']: _images(dataset)
        for dataset in [
            *(cfg.get('test_sets') or {}).values(), *(
                [cfg.data.test] if cfg.data.get('test') else [])
        ]
    }
    found = {
        dataset['name']:
        [name for name, of in tests.items() if _overlap(_images(dataset), of)]
        for dataset in member_datasets(cfg.data.val)
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


def _stems(split: str) -> Set[str]:
    """Lines of a split file; none of one that the dataset will refuse."""
    try:
        return {line.strip() for line in read_text(split).splitlines()} - {''}
    except (OSError, ValueError):
        return set()


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
