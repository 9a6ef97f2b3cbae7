"""Several test sets behind one evaluation hook."""
import math
from collections.abc import Mapping, Sequence

import numpy as np
from mmcv import Config
from mmseg.datasets import DATASETS, ConcatDataset, build_dataset
from torch.utils.data import Dataset

from mbos.config import build_checked
from .checks import Checked, DataError, build_members

LOGGED = ('Dice', 'IoU', 'mDice', 'mIoU')


@DATASETS.register_module()
class EvaluationSets(Checked, ConcatDataset):
    """Evaluate test sets one by one and put their names before the metrics.

    mmseg's ConcatDataset, which a plain list in ``data.val`` becomes, numbers
    the metrics ('0_vessel.mDice'); here they carry the dataset's name
    ('drive.vessel.mDice'), so no two may have the same.
    """

    def __init__(self,
                 datasets: Sequence[dict | Dataset],
                 test_mode: bool = True):
        super().__init__(build_members(datasets, test_mode=test_mode))
        for dataset in self.datasets:
            if not hasattr(dataset, 'problems'):
                raise ValueError(
                    f'{type(dataset).__name__} does not serve for evaluation '
                    'of several tasks: write PartialLabelDataset, or a '
                    'subclass of it.')
        names = [dataset.name for dataset in self.datasets]
        if len(set(names)) != len(names):
            raise ValueError('EvaluationSets needs different names, got '
                             f'{", ".join(names)}.')

    def problems(self, full: bool = True) -> list[str]:
        """Collect what is wrong with the data of all test sets."""
        return [p for d in self.datasets for p in d.problems(full)]

    def evaluate(self,
                 results: Sequence[dict],
                 metric: str | Sequence[str] = 'mIoU',
                 logger=None) -> dict[str, float]:
        """Evaluate every test set; ``results`` are those of set after set.

        Returns:
            dict[str, float]: Dice and IoU by '<dataset>.<task>.<metric>', as
            the log line of an evaluation has no place for more, and their
            means over tasks, 'mDice' and 'mIoU', for ``save_best``; 'mDice'
            comes first, which is what ``save_best='auto'`` takes.
        """
        by_set, named, start = {}, {}, 0
        for end, dataset in zip(self.cumulative_sizes, self.datasets):
            values = dataset.evaluate(results[start:end], metric, logger)
            by_set[dataset.name] = values
            named.update({
                f'{dataset.name}.{key}': value
                for key, value in values.items() if key.split('.')[1] in LOGGED
            })
            start = end
        return mean_over_tasks(by_set) | named


def mean_over_tasks(values: Mapping[str, Mapping]) -> dict[str, float]:
    """Average metrics over classes, datasets of a task, and tasks.

    Background is not a class here: on photographs of a retina it is nearly
    always right. ``values`` are by dataset and '<task>.<metric>.<class>';
    undefined ones are left out.

    Returns:
        dict[str, float]: 'mDice' and 'mIoU'; NaN where all are undefined.
    """
    means = {}
    for metric in ('Dice', 'IoU'):
        of_tasks: dict[str, list[float]] = {}
        for figures in values.values():
            of_classes: dict[str, list[float]] = {}
            for key, value in figures.items():
                task, name, *label = key.split('.', 2)
                if name == metric and label != ['background'] \
                        and not math.isnan(value):
                    of_classes.setdefault(task, []).append(value)
            for task, found in of_classes.items():
                of_tasks.setdefault(task, []).append(np.mean(found))
        means[f'm{metric}'] = float(
            np.mean([np.mean(found) for found in of_tasks.values()
                     ])) if of_tasks else math.nan
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
