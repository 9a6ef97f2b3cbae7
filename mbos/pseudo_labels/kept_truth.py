"""Ground truth of some classes: pseudo labels complete it, never change it."""
from collections.abc import Sequence

import torch
from mmcv import Config
from mmseg.datasets import build_dataset

from mbos.config import member_datasets
from mbos.datasets.label_folder import labelled_classes, read_entry
from mbos.tasks import IGNORE_INDEX, Task, build_tasks

DATASET_KEYS = ('type', 'name', 'img_dir', 'img_suffix', 'ann_suffix', 'split',
                'data_root', 'allow_unlabelled')


class KeptTruth:
    """Masks of one task, by image, that label only some of its classes.

    ``members`` are configs of datasets with the same images; those that label
    the task wholly or not at all are passed over.
    """

    def __init__(self, task: Task, members: Sequence[dict],
                 tasks: Sequence[Task]):
        self.task = task
        self._masks = {}
        classes = set()
        for member in members:
            entry = (member.get('ann_dirs') or {}).get(task.name)
            if entry is None or read_entry(entry, task).is_complete:
                continue
            cfg = {k: v for k, v in member.items() if k in DATASET_KEYS}
            dataset = build_dataset(
                dict(
                    cfg,
                    tasks=list(tasks),
                    pipeline=[],
                    test_mode=True,
                    ann_dirs={task.name: entry}))
            classes.update(dataset.truth[task.name].classes)
            for index in range(len(dataset)):
                self._masks.setdefault(dataset.stem(index), []).append(
                    (dataset, index))
        self.classes = [name for name in task.classes if name in classes]

    def labels(self,
               stem: str,
               prob: torch.Tensor,
               classes: Sequence[str],
               threshold: float,
               margin: float = 0.0) -> torch.Tensor:
        """Labels (H, W), uint8, of an image: the truth where it is known, else
        what the probabilities (C, H, W) say; 255 where a mask is, or where a
        probability is less than ``margin`` away from the threshold.

        Raises:
            ValueError: If a mask has not the size of the prediction.
        """
        wanted = self.task.known_mask(classes)
        prob = prob * wanted[:, None, None]
        ignored = torch.zeros(prob.shape[1:], dtype=torch.bool)
        for dataset, index in self._masks.get(stem, ()):
            mask = torch.from_numpy(
                dataset.get_gt_plane(index, self.task.name))
            if mask.shape != prob.shape[1:]:
                raise ValueError(
                    f'{dataset.plane_path(index, self.task.name)}: the mask '
                    f'has shape {tuple(mask.shape)}, its image '
                    f'{tuple(prob.shape[1:])}; prepare both with the same '
                    'crop.')
            known = dataset.truth[self.task.name].classes
            prob = self.task.complete(prob, mask, known)
            ignored |= mask == IGNORE_INDEX
        ignored |= ((prob - threshold).abs() < margin).any(dim=0)
        labels = self.task.decode(prob, threshold)
        return labels.masked_fill(ignored, IGNORE_INDEX)


def classes_to_write(task: Task, named: Sequence[str] | None,
                     members: Sequence[dict], dataset: str) -> tuple[str, ...]:
    """The classes that pseudo labels of a task shall label, in its order.

    ``named`` are those of the config, None for all; ``members`` are configs of
    all training sets, and ``dataset`` is a name for errors.

    Raises:
        ValueError: If one is unknown; or if none is named and the training
            sets label only some of them.
    """
    if named is not None:
        try:
            return task.part(named).classes
        except ValueError as error:
            raise ValueError(f'Dataset {dataset!r}, pseudo_dirs: '
                             f'{error}') from error
    labelled = labelled_classes(task, members)
    missing = [name for name in task.classes if name not in labelled]
    if labelled and missing:
        raise ValueError(
            f'Dataset {dataset!r}: no dataset of data.train labels '
            f'{", ".join(missing)} of task {task.name!r}, so a network '
            'trained on them cannot predict it; name the classes to label, '
            f"such as pseudo_dirs=dict({task.name}=dict(path=..., classes="
            f'{[n for n in task.classes if n in labelled]})).')
    return task.classes


def settle_classes(folders: Sequence, cfg: Config) -> None:
    """Fill in the classes of every folder of a stage-2 config, and check them.

    Raises:
        ValueError: If a class is unknown, was not learnt, or if classes are
            left out that the dataset labels.
    """
    tasks = {task.name: task for task in build_tasks(cfg.model.tasks)}
    members = member_datasets(cfg.data.train)
    for folder in folders:
        for target, name in folder.targets.items():
            task = tasks[name]
            classes = classes_to_write(task, folder.classes.get(target),
                                       members, folder.name)
            folder.classes[target] = classes
            truth = KeptTruth(task, folder.labelled, list(tasks.values()))
            folder.truth[name] = truth
            left_out = [c for c in truth.classes if c not in classes]
            if left_out:
                raise ValueError(
                    f'Dataset {folder.name!r}: the pseudo labels of task '
                    f'{name!r} leave out {", ".join(left_out)}, which the '
                    'dataset labels; add it to their classes in pseudo_dirs, '
                    'so that the truth is kept.')
