"""What became of pseudo labels: shares, empty images, Dice."""
import os.path as osp
import warnings
from collections.abc import Sequence

import torch

from mbos.io.labels import read_labels
from mbos.tasks import Task
from .generation import ImageFolder

NEARLY_EMPTY = 0.8


def parse_truth(entries: Sequence[str]) -> dict[tuple[str, str], str]:
    """Read ``DATASET.TASK=FOLDER`` arguments: folder by dataset and task.

    Raises:
        ValueError: If one is malformed or its folder does not exist.
    """
    truth = {}
    for entry in entries:
        name, _, folder = entry.partition('=')
        dataset, _, task = name.rpartition('.')
        if not (dataset and task and folder):
            raise ValueError(f'--truth {entry!r}: expected '
                             'DATASET.TASK=FOLDER, such as ddr.vessel=masks.')
        if not osp.isdir(folder):
            raise ValueError(f'--truth {entry!r}: folder {folder!r} not found '
                             'from the working directory.')
        truth[dataset, task] = folder
    return truth


def report_folder(folder: ImageFolder,
                  target: str,
                  stems: Sequence[str],
                  task: Task,
                  truth_dir: str | None = None) -> dict:
    """Count what the pseudo labels in the folder ``target`` hold.

    ``truth_dir`` may have ground truth of some of the images only.

    Returns:
        dict: ``dataset``, ``task``, ``folder``, ``images``,
        ``images_with_nothing``, ``share`` (of pixels) and
        ``images_with_class`` by class; with truth also ``images_with_truth``
        and ``Dice`` by class, pooled over pixels.
    """
    pixels = empty = scored = 0
    area = torch.zeros(task.num_classes, dtype=torch.int64)
    present = torch.zeros_like(area)
    overlap = torch.zeros((2, task.num_classes), dtype=torch.float64)
    for stem in stems:
        path = folder.label_path(target, stem)
        labels = torch.from_numpy(read_labels(path))
        predicted, _ = task.encode(labels)
        sums = predicted.flatten(1).sum(1)
        pixels += labels.numel()
        area += sums
        present += sums > 0
        empty += not sums.any()
        mask = truth_dir and folder.label_path(truth_dir, stem)
        if mask and osp.isfile(mask):
            scored += 1
            overlap += _overlap(task, predicted, mask, path)
    names = folder.classes.get(target, task.classes)
    channels = task.channels(names)
    area, present, overlap = (area[channels], present[channels],
                              overlap[:, channels])
    row = dict(
        dataset=folder.name,
        task=task.name,
        folder=target,
        images=len(stems),
        images_with_nothing=empty,
        share=dict(zip(names, (area / max(pixels, 1)).tolist())),
        images_with_class=dict(zip(names, present.tolist())))
    if truth_dir:
        row['images_with_truth'] = scored
        row['Dice'] = dict(zip(names, (overlap[0] / overlap[1]).tolist()))
    return row


def _overlap(task: Task, predicted: torch.Tensor, mask: str,
             path: str) -> torch.Tensor:
    """Numerators and denominators of Dice, (2, C)."""
    labels = torch.from_numpy(read_labels(mask))
    if labels.shape != predicted.shape[-2:]:
        raise ValueError(
            f'{mask}: the mask has shape {tuple(labels.shape)}, {path} has '
            f'{tuple(predicted.shape[-2:])}; prepare truth and images alike.')
    target, valid = task.encode(labels)
    predicted = predicted & valid
    both = (predicted & target).flatten(1).sum(1)
    each = predicted.flatten(1).sum(1) + target.flatten(1).sum(1)
    return torch.stack([2 * both, each]).double()


def make_report(labelled: Sequence[tuple], truth: dict[tuple[str, str],
                                                       str]) -> list[dict]:
    """Report on all folders that ``generate_pseudo_labels`` returned, a row of
    :func:`report_folder` each, and warn of those that are nearly empty.

    Raises:
        ValueError: If truth is given for what has no pseudo labels.
    """
    check_truth([folder for folder, _, _ in labelled], truth)
    rows = []
    for folder, stems, tasks in labelled:
        for target, task in folder.targets.items():
            row = report_folder(folder, target, stems, tasks[task],
                                truth.get((folder.name, task)))
            share = row['images_with_nothing'] / len(stems)
            row['nearly_empty'] = share > NEARLY_EMPTY
            if row['nearly_empty']:
                warnings.warn(
                    f'{target}: nothing was found in {100 * share:.0f} % of '
                    f'the images. If {task} does occur in {folder.name}, '
                    'train stage 1 longer or lower --threshold; if it does '
                    'not, take the folder out of the config.')
            rows.append(row)
    return rows


def check_truth(folders: Sequence[ImageFolder], truth: dict[tuple[str, str],
                                                            str]) -> None:
    """Refuse truth of datasets and tasks that are not pseudo-labelled."""
    known = {(f.name, task) for f in folders for task in f.targets.values()}
    unknown = sorted(set(truth) - known)
    if unknown:
        raise ValueError(
            f'--truth {".".join(unknown[0])}: the config reads no such pseudo '
            'labels, only ' + ', '.join('.'.join(k)
                                        for k in sorted(known)) + '.')


def report_table(rows: Sequence[dict]) -> list[list[str]]:
    """Lay a report out, the first row being the header."""
    table = [[
        'dataset', 'task', 'class', 'share of pixels', 'images with it',
        'images with nothing', 'Dice'
    ]]
    for row in rows:
        for name, share in row['share'].items():
            dice = row.get('Dice', {}).get(name)
            table.append([
                row['dataset'], row['task'], name, f'{100 * share:.3f} %',
                f'{row["images_with_class"][name]} of {row["images"]}',
                f'{row["images_with_nothing"]} of {row["images"]}',
                '' if dice is None else f'{dice:.4f}'
            ])
    return table
