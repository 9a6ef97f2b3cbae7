"""What became of pseudo labels: shares, empty images, Dice."""
import os.path as osp
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from mbos.datasets.label_folder import TRUTH, LabelFolder
from mbos.io.photographs import Layout
from .generation import ImageFolder

NEARLY_EMPTY = 0.8
HEADER = ('dataset,task,class,share of pixels,images with it,'
          'images with nothing,Dice').split(',')


def parse_truth(entries: Sequence[str],
                folders: Sequence[ImageFolder]) -> dict[str, str]:
    """Read ``DATASET.TASK=FOLDER`` arguments: folders by 'dataset.task' that
    is labelled. A ValueError says which argument is wrong.
    """
    known = {f'{f.name}.{t.task.name}' for f in folders for t in f.targets}
    truth = {}
    for entry in entries:
        name, _, folder = entry.partition('=')
        if name not in known or not osp.isdir(folder):
            raise ValueError(
                f'--truth {entry!r}: expected DATASET.TASK=FOLDER, with a '
                'folder that exists, and one of the pseudo labels that the '
                f'config reads: {", ".join(sorted(known))}.')
        truth[name] = folder
    return truth


def make_report(labelled: Sequence[ImageFolder],
                truth: Mapping[str, str]) -> list[dict]:
    """Report on all folders that ``generate_pseudo_labels`` returned, and warn
    of those that are nearly empty.

    ``truth`` are folders, by 'dataset.task', of ground truth of some images.
    With it, a row has ``Dice`` by class, pooled over pixels.
    """
    pairs = [(folder, t) for folder in labelled for t in folder.targets]
    return [_row(folder, t, truth.get(f'{folder.name}.{t.task.name}'))
            for folder, t in pairs]  # yapf: disable


def _row(folder: ImageFolder, target: LabelFolder,
         truth_dir: str | None) -> dict:
    names, task, stems = target.classes, target.task.name, folder.dataset.stems
    masks = replace(target, path=truth_dir or '', kind=TRUTH)
    pixels = empty = scored = 0
    area, present, both, each = torch.zeros((4, len(names))).double()
    for i, stem in enumerate(stems):
        layout = folder.dataset.layout(i)
        predicted, _ = _planes(target, stem, layout)
        found = _count(predicted)
        pixels += predicted[0].numel()
        area += found
        present += found > 0
        empty += not found.any()
        if truth_dir and osp.isfile(masks.file(stem)):
            scored += 1
            truth, valid = _planes(masks, stem, layout)
            both += _count(predicted & truth)
            each += _count(predicted & valid) + _count(truth)
    share = empty / len(stems)
    if share > NEARLY_EMPTY:
        warnings.warn(
            f'{target.path}: nothing was found in {100 * share:.0f} % of the '
            f'images. If {task} does occur in {folder.name}, train stage 1 '
            'longer or lower --threshold; if it does not, take the folder out '
            'of the config.')
    row = dict(
        dataset=folder.name,
        task=task,
        folder=target.path,
        images=len(stems),
        images_with_nothing=empty,
        nearly_empty=share > NEARLY_EMPTY,
        share=dict(zip(names, (area / pixels).tolist())),
        images_with_class=dict(zip(names, map(int, present))))
    if truth_dir:
        row['images_with_truth'] = scored
        row['Dice'] = dict(zip(names, (2 * both / each).tolist()))
    return row


def _planes(folder: LabelFolder, stem: str,
            layout: Layout) -> tuple[Tensor, Tensor]:
    """Targets and validity of the labelled classes, (C, H, W)."""
    labels = torch.from_numpy(folder.read(stem, layout))
    channels = folder.task.channels(folder.classes)
    targets, valid = folder.task.encode(labels)
    return targets[channels], valid[channels]


def _count(masks: Tensor) -> Tensor:
    return masks.flatten(1).sum(1)


def report_table(rows: Sequence[dict]) -> list[list[str]]:
    """Lay a report out, the first row being the header."""
    table = [HEADER]
    for row in rows:
        count = row['images']
        for name, share in row['share'].items():
            dice = row.get('Dice', {}).get(name)
            table.append([
                row['dataset'], row['task'], name, f'{100 * share:.3f} %',
                f'{row["images_with_class"][name]} of {count}',
                f'{row["images_with_nothing"]} of {count}',
                '' if dice is None else f'{dice:.4f}'
            ])
    return table
