"""Two evaluations of the same test sets beside each other.

Metrics have the names that an evaluation gives them; ``Dice@0.5`` is of the
pooled pixels, others are means over images. They are of the images that both
evaluations have.
"""
from collections.abc import Sequence
from itertools import product

import numpy as np

from mbos.metrics.bootstrap import Bootstrap, compare_means, compare_sums, holm
from mbos.metrics.tables import CONFUSION, mean_of_defined, overlap
from .report import FORMAT, saved_evaluations

METRICS = ('Dice-image', 'Dice@0.5', 'AP-image', 'AUC-image', 'Ratio-error')
LOWER_IS_BETTER = ('Ratio-error', )
FEW_IMAGES = 10  # with fewer, intervals are too narrow


def read_evaluations(path: str) -> dict[str, dict]:
    """Read an ``eval_<set>.json``, or a folder of them, by test set."""
    found = {}
    for file, content in saved_evaluations(path).items():
        if content is None:
            raise ValueError(
                f'{file}: not an evaluation of format {FORMAT}; give an '
                'eval_<set>.json, or the --work-dir, of tools/test.py --eval.')
        found[content['dataset']] = content
    return found


def compare_evaluations(
    first: dict[str, dict],
    second: dict[str, dict],
    metrics: Sequence[str] = METRICS,
    bootstrap: Bootstrap = Bootstrap(10000)
) -> dict:
    """Compare all test sets that two evaluations, by test set, both have;
    ``metrics`` that a task does not have are passed over.

    Returns:
        dict: ``rows``, each with ``test_set``, ``task``, ``class``,
        ``metric``, what :func:`compare_sums` gives, ``p_holm`` (Holm's
        correction over all rows) and ``better`` ('first', 'second' or None,
        by ``p_holm`` at the level of the bootstrap); ``notes``, sentences.

    Raises:
        ValueError: If there is nothing in common.
    """
    rows, notes = [], []
    alone = sorted(set(first) ^ set(second))
    if alone:
        notes.append(f'Only one of the two has {", ".join(alone)}.')
    for name in _common('test set', first, second):
        pair = [side[name]['tasks'] for side in (first, second)]
        for task in _common(f'task of {name}', *pair):
            tasks = [side[task] for side in pair]
            images = _matched(f'{name}, {task}', tasks, notes)
            classes = tasks[0]['classes']
            of_classes = [*classes, *['mean'] * (len(classes) > 1)]
            for metric, label in product(metrics, of_classes):
                labels = classes if label == 'mean' else [label]
                found = _difference(images, metric, labels, bootstrap)
                if found is not None:
                    about = dict(test_set=name, task=task, metric=metric)
                    rows.append(about | {'class': label} | found)
    if not rows:
        raise ValueError(f'No metric named {", ".join(metrics)} in both '
                         f'evaluations; usual ones are {", ".join(METRICS)}.')
    for row, p_value in zip(rows, holm([row['p_value'] for row in rows])):
        row |= dict(p_holm=p_value, better=None)
        if p_value < 1 - bootstrap.level:
            lower = row['metric'].split('-fov')[0] in LOWER_IS_BETTER
            row['better'] = ('second' if
                             (row['difference'] < 0) == lower else 'first')
    return dict(rows=rows, notes=notes)


def _common(what: str, first: dict, second: dict) -> list[str]:
    """Names that both sides have; refuse sides without any."""
    found = [name for name in first if name in second]
    if not found:
        sides = [', '.join(list(side)[:3]) for side in (first, second)]
        raise ValueError(f'The evaluations have no {what} in common: one has '
                         f'{sides[0]}, the other one {sides[1]}.')
    return found


def _matched(where: str, tasks: list[dict], notes: list[str]) -> list[tuple]:
    """Both evaluations' rows of each image that they have in common."""
    for key in ('classes', 'nested', 'ignore_index'):
        one, other = (task[key] for task in tasks)
        if one != other:
            raise ValueError(
                f'{where}: {key} is {one!r} in one evaluation and {other!r} '
                'in the other; evaluate both with the same config of the test '
                'set.')
    sides = [{row['name']: row for row in one['per_image']} for one in tasks]
    names = _common(f'image of {where}', *sides)
    alone = len(set(sides[0]) ^ set(sides[1]))
    if alone:
        notes.append(f'{where}: {alone} images that only one of the two has '
                     'are left out.')
    if len(names) < FEW_IMAGES:
        notes.append(f'{where}: {len(names)} images are few; the intervals '
                     'are too narrow.')
    return [(sides[0][name], sides[1][name]) for name in names]


def _difference(images: list[tuple], metric: str, labels: list[str],
                bootstrap: Bootstrap) -> dict | None:
    """Compare a metric, mean over some classes; None where the evaluations
    lack it."""
    key, _, point = metric.replace('-image', '').partition('@')
    is_overlap = key.startswith(('Dice', 'IoU'))
    if point and metric != f'Dice@{point}':
        return None
    if len(labels) > 1 and not is_overlap:
        labels = ['mean']

    def values_of(row):
        if not point:
            return [row[key][label] for label in labels]
        counts = [row['counts'][point][label] for label in labels]
        return [[own[kind] for kind in CONFUSION] for own in counts]

    try:
        # (images, 2, labels), or pooled (images, 2, labels, 4)
        values = np.array([list(map(values_of, pair)) for pair in images],
                          np.float64)  # None, which is undefined, becomes NaN
    except KeyError:
        return None
    if point:
        return compare_sums(
            values, lambda sums: mean_of_defined(overlap(sums)['Dice']),
            bootstrap)
    if is_overlap:
        # Where a class does not occur, finding nothing is right; otherwise
        # images in which only one model finds it would not count, and the
        # models' means would be over different classes.
        only_one = np.isnan(values) & ~np.isnan(values[:, ::-1])
        values = np.where(only_one, 1.0, values)
    return compare_means(mean_of_defined(values), bootstrap)


def difference_table(rows: Sequence[dict]) -> list[list[str]]:
    """Lay rows of :func:`compare_evaluations` out, the header first."""
    table = [[
        'test set', 'task', 'class', 'metric', 'images', 'A', 'B', 'B - A',
        'interval', 'p', 'p (Holm)', 'better'
    ]]
    letters = {None: '', 'first': 'A', 'second': 'B'}
    form = ('{test_set}\t{task}\t{class}\t{metric}\t{images}\t{first:.4f}\t'
            '{second:.4f}\t{difference:+.4f}\t{low:+.4f} to {high:+.4f}\t'
            '{p_value:.4f}\t{p_holm:.4f}\t')
    for row in rows:
        text = form.format(**row).replace('+nan', 'nan')
        table.append((text + letters[row['better']]).split('\t'))
    return table
