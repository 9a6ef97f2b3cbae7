"""Several test sets behind one evaluation hook."""
import math
from collections.abc import Sequence

import numpy as np
from mmcv import Config
from mmseg.datasets import DATASETS, ConcatDataset, build_dataset
from torch.utils.data import Dataset

from mbos.config import build_checked
from .checks import DataError


@DATASETS.register_module()
class EvaluationSets(ConcatDataset):
    """Evaluate test sets one by one and name their figures.

    mmseg's ConcatDataset, which a plain list in ``data.val`` becomes, numbers
    the figures ('0_vessel.mDice'); here they carry the dataset's name
    ('drive.vessel.mDice').

    Args:
        datasets (Sequence[dict | Dataset]): Test sets or their configs; no
            two of the same name.
        test_mode (bool): Set for those given as configs. Default: True.
    """

    def __init__(self,
                 datasets: Sequence[dict | Dataset],
                 test_mode: bool = True):
        super().__init__([
            build_dataset(d, dict(
                test_mode=test_mode)) if isinstance(d, dict) else d
            for d in datasets
        ])
        names = [dataset.name for dataset in self.datasets]
        if len(set(names)) != len(names):
            raise ValueError('EvaluationSets needs different names, got '
                             f'{", ".join(names)}.')

    def check(self, full: bool = True) -> None:
        """Check the data of all test sets.

        Args:
            full (bool): Also read every image and mask. Default: True.

        Raises:
            DataError: One error for everything that was found.
        """
        problems = [p for d in self.datasets for p in d.problems(full)]
        if problems:
            raise DataError(problems)

    def evaluate(self,
                 results: Sequence[dict],
                 metric: str | Sequence[str] = 'mIoU',
                 logger=None) -> dict[str, float]:
        """Evaluate every test set.

        Args:
            results (Sequence[dict]): One entry per image, set after set.
            metric (str | Sequence[str]): Passed on. Default: 'mIoU'.
            logger (logging.Logger | str, optional): For mmcv's print_log.

        Returns:
            dict[str, float]: Dice and IoU by '<dataset>.<task>.<metric>', as
            the log line of an evaluation has no place for more, and their
            means over tasks, 'mDice' and 'mIoU', for ``save_best``.
        """
        if len(results) != len(self):
            raise ValueError(f'The test sets have {len(self)} images, got '
                             f'results of {len(results)}.')
        figures = {}
        start = 0
        for end, dataset in zip(self.cumulative_sizes, self.datasets):
            own = dataset.evaluate(
                results[start:end], metric=metric, logger=logger)
            figures.update({
                f'{dataset.name}.{key}': value
                for key, value in own.items()
                if key.split('.')[1] in ('Dice', 'IoU', 'mDice', 'mIoU')
            })
            start = end
        names = [dataset.name for dataset in self.datasets]
        return {**figures, **mean_over_tasks(figures, names)}


def mean_over_tasks(figures: dict[str, float],
                    names: Sequence[str]) -> dict[str, float]:
    """Average figures over classes, datasets of a task, and tasks.

    Background is no class here: on photographs of a retina it is nearly
    always right.

    Args:
        figures (dict[str, float]): By '<dataset>.<task>.<metric>.<class>';
            those of 'Dice' and 'IoU' are averaged, undefined ones left out.
        names (Sequence[str]): Of the datasets; they may have dots in them.

    Returns:
        dict[str, float]: 'mDice' and 'mIoU'; NaN where all are undefined.
    """
    means = {}
    for metric in ('Dice', 'IoU'):
        by_task = {}
        for key, value in figures.items():
            # the longest that fits: 'a' may be a dataset as well as 'a.b'
            dataset = max((n for n in names if key.startswith(f'{n}.')),
                          key=len)
            task, *name = key[len(dataset) + 1:].split('.', 2)
            if name[0] == metric and name[1] != 'background' \
                    and value == value:
                sets = by_task.setdefault(task, {})
                sets.setdefault(dataset, []).append(value)
        of_tasks = [
            np.mean([np.mean(values) for values in sets.values()])
            for sets in by_task.values()
        ]
        means[f'm{metric}'] = float(np.mean(of_tasks)) if of_tasks \
            else math.nan
    return means


def build_val_set(cfg: Config):
    """The validation set of a config.

    Raises:
        DataError: If its files are missing, with what can be done about it.
    """
    try:
        return build_checked(build_dataset, cfg.data.val, dict(test_mode=True))
    except DataError as error:
        raise DataError(error.problems + [
            'data.val: these are for evaluation during training; prepare '
            'them, name other sets in data.val, or pass --no-validate.'
        ]) from error
