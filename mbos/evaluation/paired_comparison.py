"""Two evaluations of the same test sets beside each other.

The metrics have the names that an evaluation gives them: ``Dice-image``,
``AP-image``, ``AUC-image`` and ``Ratio-error`` are means over images, and
``Dice@0.5`` is of the pooled pixels. They are of the images that both
evaluations have.
"""
import glob
from collections.abc import Iterator, Sequence

import numpy as np

from mbos.io.files import read_json
from mbos.metrics.bootstrap import Bootstrap
from mbos.metrics.paired_bootstrap import (Difference, compare_means,
                                           compare_sums, holm)
from mbos.metrics.tables import CONFUSION, mean_of_defined, overlap
from .files import FORMAT, evaluation_path

METRICS = ('Dice-image', 'Dice@0.5', 'AP-image', 'AUC-image', 'Ratio-error')
"""tuple[str]: What is compared unless others are named."""

LOWER_IS_BETTER = ('Ratio-error', )
FEW_IMAGES = 10
"""int: With fewer, intervals are too narrow."""


def read_evaluations(path: str) -> dict[str, dict]:
    """Read an ``eval_<set>.json``, or a folder of them, by test set.

    Raises:
        ValueError: If there is none, or one is not what it should be.
    """
    names = sorted(glob.glob(evaluation_path(glob.escape(path), '*')))
    found = {}
    for name in names or [path]:
        content = read_json(name) or {}
        if content.get('format') != FORMAT:
            raise ValueError(
                f'{name}: not an evaluation of format {FORMAT}; give an '
                'eval_<set>.json, or the --work-dir, of tools/test.py --eval.')
        found[content['dataset']] = content
    return found


def compare_evaluations(first: dict[str, dict],
                        second: dict[str, dict],
                        metrics: Sequence[str] = METRICS,
                        resamples: int = 10000,
                        seed: int = 0,
                        level: float = 0.95) -> dict:
    """Compare all test sets that both have.

    ``first`` and ``second`` are evaluations by test set. ``metrics`` that a
    task does not have are passed over; the rest is as for ``Bootstrap``.

    Returns:
        dict: ``rows``, each with ``test_set``, ``task``, ``class``,
        ``metric``, what :class:`Difference` has, ``p_holm`` (Holm's
        correction over all rows) and ``better`` ('first', 'second' or None,
        by ``p_holm`` at that level); and ``notes``, sentences.

    Raises:
        ValueError: If there is nothing in common.
    """
    common, notes = _common('test set', first, second), []
    alone = sorted(set(first) ^ set(second))
    if alone:
        notes.append(f'Only one of the two has {", ".join(alone)}.')
    bootstrap = Bootstrap(resamples, level, seed)
    rows = []
    for name in common:
        pair = first[name], second[name]
        notes += [
            f'{name}: the {which} evaluation ended early, after '
            f'{one["images"]} of {one["images_expected"]} images.'
            for which, one in zip(('first', 'second'), pair)
            if not one.get('complete', True)
        ]
        for task in _common(f'task of {name}', *(e['tasks'] for e in pair)):
            of_task = [one['tasks'][task] for one in pair]
            sides = _match(f'{name}, {task}', of_task, notes)
            rows += [
                dict(test_set=name, task=task, **row) for row in _rows(
                    sides, of_task[0]['classes'], metrics, bootstrap)
            ]
    if not rows:
        raise ValueError(f'No metric named {", ".join(metrics)} in both '
                         f'evaluations; usual ones are {", ".join(METRICS)}.')
    for row, p_value in zip(rows, holm([r['p_value'] for r in rows])):
        row['p_holm'], row['better'] = p_value, None
        if p_value < 1 - level:
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


def _match(where: str, tasks: Sequence[dict], notes: list[str]) -> list[list]:
    """The rows of the images that both evaluations of a task have."""
    for key in ('classes', 'nested', 'ignore_index'):
        given = [one[key] for one in tasks]
        if given[0] != given[1]:
            raise ValueError(
                f'{where}: {key} is {given[0]!r} in one evaluation and '
                f'{given[1]!r} in the other; evaluate both with the same '
                'config of the test set.')
    sides = [{row['name']: row for row in one['per_image']} for one in tasks]
    names = _common(f'image of {where}', *sides)
    alone = len(set(sides[0]) ^ set(sides[1]))
    if alone:
        notes.append(f'{where}: {alone} images that only one of the two has '
                     'are left out.')
    if len(names) < FEW_IMAGES:
        notes.append(f'{where}: {len(names)} images are few; the intervals '
                     'are too narrow.')
    return [[side[name] for name in names] for side in sides]


def _rows(sides, classes: Sequence[str], metrics: Sequence[str],
          bootstrap: Bootstrap) -> Iterator[dict]:
    """Compare the metrics of all classes, and of their mean."""
    for metric in metrics:
        for label in [*classes, *['mean'] * (len(classes) > 1)]:
            labels = classes if label == 'mean' else [label]
            compare = _compare_pooled if '@' in metric else _compare_means
            found = compare(sides, metric, labels, bootstrap)
            if found is not None:
                yield {'class': label, 'metric': metric, **found._asdict()}


def _compare_means(sides, metric: str, labels: Sequence[str],
                   bootstrap: Bootstrap) -> Difference | None:
    """Compare means over images; None where the evaluations lack them."""
    key = metric.replace('-image', '')
    is_overlap = key.split('-')[0] in ('Dice', 'IoU')
    if len(labels) > 1 and not is_overlap:
        labels = ['mean']
    try:
        # (images, labels); None, which is undefined, becomes NaN
        first, second = (
            np.array([[row[key][name] for name in labels]
                      for row in side], np.float64) for side in sides)
    except KeyError:
        return None
    if is_overlap:
        # Where a class does not occur, finding nothing is right; otherwise
        # images in which only one model finds it would not count, and the
        # models' means would be over different classes.
        first, second = (np.where(np.isnan(one) & ~np.isnan(other), 1.0, one)
                         for one, other in ((first, second), (second, first)))
    return compare_means(
        mean_of_defined(first), mean_of_defined(second), bootstrap)


def _compare_pooled(sides, metric: str, labels: Sequence[str],
                    bootstrap: Bootstrap) -> Difference | None:
    """Compare the Dice of the pixels of all images, mean over the classes."""
    name, _, point = metric.partition('@')
    if name != 'Dice':
        return None
    try:
        # (images, models, labels, 4)
        counts = np.array(
            [[[[row['counts'][point][label][kind] for kind in CONFUSION]
               for label in labels] for row in pair]
             for pair in zip(*sides)], np.float64)
    except KeyError:
        return None
    return compare_sums(counts,
                        lambda sums: mean_of_defined(overlap(sums)['Dice']),
                        bootstrap)


def difference_table(rows: Sequence[dict]) -> list[list[str]]:
    """Lay rows of :func:`compare_evaluations` out, the header first."""
    table = [[
        'test set', 'task', 'class', 'metric', 'images', 'A', 'B', 'B - A',
        'interval', 'p', 'p (Holm)', 'better'
    ]]
    for row in rows:
        ends = [_shown(row[end], '+.4f') for end in ('low', 'high')]
        table.append([
            *(str(row[key])
              for key in ('test_set', 'task', 'class', 'metric', 'images')),
            _shown(row['first']),
            _shown(row['second']),
            _shown(row['difference'], '+.4f'),
            ' to '.join(ends) if row['low'] == row['low'] else '–',
            _shown(row['p_value']),
            _shown(row['p_holm']),
            dict(first='A', second='B').get(row['better'], '')
        ])
    return table


def _shown(value: float, style: str = '.4f') -> str:
    return format(value, style) if value == value else '–'
