"""Several test sets behind one evaluation hook."""
import math
from collections import defaultdict
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
        names = [getattr(dataset, 'name', None) for dataset in self.datasets]
        if None in names or len(set(names)) < len(names):
            raise ValueError(
                'EvaluationSets needs PartialLabelDatasets, or subclasses of '
                f'it, of different names, got {names}.')

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
        by_set, start = {}, 0
        for end, dataset in zip(self.cumulative_sizes, self.datasets):
            own = results[start:end]
            by_set[dataset.name] = dataset.evaluate(own, metric, logger)
            start = end
        return mean_over_tasks(by_set) | {
            f'{name}.{key}': value
            for name, values in by_set.items()
            for key, value in values.items() if key.split('.')[1] in LOGGED
        }


def mean_over_tasks(values: Mapping[str, Mapping]) -> dict[str, float]:
    """Average Dice and IoU over classes, datasets of a task, and tasks.

    Background is not a class here: on photographs of a retina it is nearly
    always right. ``values`` are by dataset and '<task>.<metric>.<class>';
    undefined ones are left out, and 'mDice' or 'mIoU' is NaN where all are.
    """
    means = {}
    for metric in ('Dice', 'IoU'):
        classes, sets = defaultdict(list), defaultdict(list)
        for dataset, metrics in values.items():
            for key, value in metrics.items():
                task, name, *label = key.split('.', 2)
                if name == metric and label != ['background'] \
                        and not math.isnan(value):
                    classes[task, dataset].append(value)
        for (task, _), found in classes.items():
            sets[task].append(np.mean(found))
        tasks = [np.mean(found) for found in sets.values()]
        means[f'm{metric}'] = float(np.mean(tasks)) if tasks else math.nan
    return means


def build_val_set(cfg: Config):
    """The validation set of a config; a DataError says which files are missing
    and what can be done about it.
    """
    try:
        return build_checked(build_dataset, cfg.data.val, dict(test_mode=True))
    except DataError as error:
        raise DataError(error.problems + [
            'data.val: these are for evaluation during training; prepare '
            'them, name other sets in data.val, or pass --no-validate.'
        ]) from error
