"""Models side by side: Dice per test set, task and class, against a constant.

The Dice of a mean counts the classes that occur in the test set, the same
ones in every column.
"""
import os.path as osp
from collections.abc import Mapping, Sequence

import numpy as np
import torch

from mbos.io.files import read_json
from mbos.io.labels import read_labels
from mbos.tasks import Task

CONSTANT = 'constant'


def field_of_view(dataset, index: int) -> np.ndarray | None:
    """The field of view of a test image, boolean (H, W).

    None where neither the dataset's ``fov_dir`` nor a folder ``fov`` beside
    the images has it.
    """
    fov = dataset.get_fov(index)
    if fov is not None:
        return fov
    path = osp.join(
        osp.dirname(dataset.img_dir), 'fov', f'{dataset.stems[index]}.png')
    return read_labels(path) > 0 if osp.isfile(path) else None


def constant_dice(dataset) -> dict[str, dict[str, float]]:
    """Dice, by task and class, of the better of two predictors that do not
    look at the image; NaN for a class that occurs in no image.

    One calls nothing foreground (Dice 0 wherever a class occurs), the other
    the whole field of view. Counts are pooled over images.
    """
    found = {}
    for task in dataset.tasks:
        if task.name not in dataset.truth:
            continue
        scored = dataset.scored_task(task)
        values = task.part_values(scored.classes)
        sums = np.zeros((3, scored.num_classes))
        for index in range(len(dataset)):
            plane = values[dataset.get_gt_plane(index, task.name)]
            sums += _constant_sums(plane, scored,
                                   field_of_view(dataset,
                                                 index), dataset.ignore_index)
        both, truth, predicted = sums
        with np.errstate(invalid='ignore', divide='ignore'):
            dice = np.where(truth > 0, 2 * both / (truth + predicted), np.nan)
        found[task.name] = dict(zip(scored.classes, map(float, dice)))
    return found


def _constant_sums(plane: np.ndarray, task: Task, fov: np.ndarray | None,
                   ignore_index: int | None) -> np.ndarray:
    """Pixels in both, in the truth and in the prediction, (3, C)."""
    target, valid = task.encode(torch.from_numpy(plane), ignore_index)
    target = (target & valid).numpy()
    inside = valid.numpy() if fov is None else valid.numpy() & fov
    return np.stack(
        [mask.sum(axis=(1, 2)) for mask in (target & inside, target, inside)])


def read_figures(folder: str, test_set: str) -> dict[str, float]:
    """Metrics by name that ``tools/test.py --eval`` wrote of a test set into
    its ``--work-dir``; empty if there are none.
    """
    content = read_json(osp.join(folder, f'eval_{test_set}.json')) or {}
    return content.get('figures', {})


def compare(datasets: Sequence,
            models: Mapping[str, Mapping[str, str]]) -> list[dict]:
    """Put the Dice of several models beside each other, on test sets.

    ``models`` are for each column the folder of ``eval_*.json`` by task. Rows
    have ``test_set``, ``task``, ``class``, ``images``, ``hidden``, and
    ``dice`` by column (None where there is none). Classes that do not occur
    have no row.
    """
    rows = []
    for dataset in datasets:
        for task, constant in constant_dice(dataset).items():
            columns = {CONSTANT: {c: v for c, v in constant.items() if v == v}}
            names = list(columns[CONSTANT])
            for model, folders in models.items():
                figures = read_figures(folders.get(task, ''), dataset.name)
                columns[model] = {
                    name: figures.get(f'{task}.Dice.{name}')
                    for name in names
                }
            for values in columns.values() if len(names) > 1 else ():
                known = None not in values.values()
                values['mean'] = sum(
                    values.values()) / len(names) if known else None
            rows += [
                {
                    'test_set': dataset.name,
                    'task': task,
                    'class': label,
                    'images': len(dataset),
                    # such training photographs never had these labels
                    'hidden': dataset.name.startswith('hidden_'),
                    'dice': {k: values[label] for k, values in columns.items()}
                } for label in columns[CONSTANT]
            ]  # yapf: disable
    return rows


def comparison_table(rows: Sequence[dict]) -> list[list[str]]:
    """Lay rows of :func:`compare` out as text, the header first."""
    columns = list(rows[0]['dice']) if rows else []
    table = [['test set', 'task', 'class', 'images', '', *columns]]
    for row in rows:
        dice = [row['dice'][column] for column in columns]
        hidden = 'hidden' if row['hidden'] else ''
        table.append([
            row['test_set'], row['task'], row['class'],
            str(row['images']), hidden,
            *('-' if value is None else f'{value:.3f}' for value in dice)
        ])
    return table


def markdown_table(table: Sequence[Sequence[str]]) -> str:
    """Format a table, the header first, in Markdown."""
    rule = ['---:' if i > 2 else '---' for i in range(len(table[0]))]
    lines = [table[0], rule, *table[1:]]
    return '\n'.join('| ' + ' | '.join(line) + ' |' for line in lines)
