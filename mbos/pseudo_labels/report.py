"""What became of pseudo labels: shares, empty images, Dice."""
import os.path as osp
import warnings
from collections.abc import Sequence
from dataclasses import replace

import torch

from mbos.datasets.label_folder import LabelFolder
from mbos.io.labels import read_labels
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
        if not (dataset and task and osp.isdir(folder)):
            raise ValueError(
                f'--truth {entry!r}: expected DATASET.TASK=FOLDER, such as '
                'ddr.vessel=masks, with a folder that exists.')
        truth[dataset, task] = folder
    return truth


def check_truth(folders: Sequence[ImageFolder], truth: dict[tuple[str, str],
                                                            str]) -> None:
    """Refuse truth of datasets and tasks that are not pseudo-labelled."""
    known = {(folder.name, target.task.name)
             for folder in folders
             for target in folder.targets.values()}
    for name in sorted(set(truth) - known):
        raise ValueError(
            f'--truth {".".join(name)}: the config reads no such pseudo '
            'labels, only ' + ', '.join(map('.'.join, sorted(known))) + '.')


def make_report(labelled: Sequence[ImageFolder],
                truth: dict[tuple[str, str], str]) -> list[dict]:
    """Report on all folders that ``generate_pseudo_labels`` returned, a row of
    :func:`report_folder` each, and warn of those that are nearly empty.
    """
    rows = []
    for folder in labelled:
        for target in folder.targets.values():
            task = target.task.name
            row = report_folder(folder, target, truth.get((folder.name, task)))
            share = row['images_with_nothing'] / row['images']
            row['nearly_empty'] = share > NEARLY_EMPTY
            if row['nearly_empty']:
                warnings.warn(
                    f'{target.path}: nothing was found in {100 * share:.0f} % '
                    f'of the images. If {task} does occur in {folder.name}, '
                    'train stage 1 longer or lower --threshold; if it does '
                    'not, take the folder out of the config.')
            rows.append(row)
    return rows


def report_folder(folder: ImageFolder,
                  target: LabelFolder,
                  truth_dir: str | None = None) -> dict:
    """Count what the pseudo labels in a folder hold.

    ``truth_dir`` may have ground truth of some of the images only.

    Returns:
        dict: ``dataset``, ``task``, ``folder``, ``images``,
        ``images_with_nothing``, ``share`` (of pixels) and
        ``images_with_class`` by class; with truth also ``images_with_truth``
        and ``Dice`` by class, pooled over pixels.
    """
    task, names = target.task, target.classes
    channels = task.channels(names)
    pixels = empty = scored = 0
    area, present, both, each = torch.zeros((4, len(channels)),
                                            dtype=torch.float64)
    for stem in folder.stems:
        labels = torch.from_numpy(read_labels(target.file(stem)))
        predicted = task.encode(labels)[0][channels]
        found = predicted.flatten(1).sum(1)
        pixels += labels.numel()
        area += found
        present += found > 0
        empty += not found.any()
        mask = truth_dir and replace(target, path=truth_dir).file(stem)
        if mask and osp.isfile(mask):
            scored += 1
            truth, valid = _read_truth(mask, target, labels.shape)
            predicted = predicted & valid
            both += (predicted & truth).flatten(1).sum(1)
            each += (predicted.flatten(1).sum(1) + truth.flatten(1).sum(1))
    row = dict(
        dataset=folder.name,
        task=task.name,
        folder=target.path,
        images=len(folder.stems),
        images_with_nothing=empty,
        share=dict(zip(names, (area / max(pixels, 1)).tolist())),
        images_with_class=dict(zip(names,
                                   present.long().tolist())))
    if truth_dir:
        row['images_with_truth'] = scored
        row['Dice'] = dict(zip(names, (2 * both / each).tolist()))
    return row


def _read_truth(path: str, target: LabelFolder, shape: tuple):
    """Targets and validity of the labelled classes, (C, H, W)."""
    labels = torch.from_numpy(read_labels(path))
    if labels.shape != shape:
        raise ValueError(
            f'{path}: the mask has shape {tuple(labels.shape)}, the pseudo '
            f'label {tuple(shape)}; prepare truth and images alike.')
    channels = target.task.channels(target.classes)
    truth, valid = target.task.encode(labels)
    return truth[channels], valid[channels]


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
