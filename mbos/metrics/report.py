"""Metrics of a test set from the sums of its images.

The sums may be a list in memory or read from a file one by one: they are gone
through twice at most, and nothing that is kept grows with more than a few
numbers per image.
"""
from collections.abc import Sequence

import numpy as np

from mbos.tasks import Task
from .bootstrap import Bootstrap, resampled_rankings
from .score_curves import calibration, curve_points
from .scores import EDGES, rank_histograms, unpack_histograms
from .tables import (REGIONS, Draws, comparable_table, image_rows,
                     published_table)


def compute(sums: Sequence[dict],
            task: Task,
            names: Sequence[str] | None = None,
            bootstrap: Bootstrap | None = None,
            curves: bool = False) -> dict:
    """Turn the sums of images into metrics.

    Args:
        sums: What ``sums.update`` returned, one per image, in the order of
            the test set.
        task: The task of these sums.
        names: Image names for the rows per image.
        bootstrap: Adds ``intervals``.
        curves: Adds ``curves`` and ``calibration``.

    Returns:
        dict: ``task``, ``num_images``, ``threshold``; ``thresholds`` by
        operating point and class; ``published`` and ``comparable``: {metric:
        {class or 'background' or 'mean': float}}, NaN where undefined;
        ``per_image``, see ``image_rows``; ``intervals``, both tables with
        (low, high), undefined with a single image; ``curves``,
        ``calibration`` and, with a field of view, the same with ``-fov``, by
        class, see ``score_curves``.

    Raises:
        ValueError: If there are no images, or sums that do not go together.
    """
    count = len(sums)
    names = list(map(str, range(count))) if names is None else names
    if len(names) != count:
        raise ValueError(
            f'Task {task.name!r}: {len(names)} names for {count} images.')
    stacked, scores = gather(sums, task)
    weights = np.ones((1, count))
    if bootstrap is not None and count > 1:
        weights = np.concatenate([weights, bootstrap.weights(count)])
    rankings = _rankings(sums, scores, weights)
    tables = dict(
        published=published_table(stacked, task, Draws(weights)),
        comparable=comparable_table(stacked, task, Draws(weights), rankings))
    report = dict(
        task=task.name,
        num_images=count,
        threshold=float(stacked['thresholds'][0, 0, 0]),
        thresholds={
            str(point): dict(zip(task.classes, values.tolist()))
            for point, values in zip(stacked['points'][0],
                                     stacked['thresholds'][0])
        },
        **_each(tables, lambda values: float(values[0])),
        per_image=image_rows(stacked, task, names))
    if bootstrap is not None:
        report['intervals'] = _each(
            tables, lambda values: bootstrap.interval(values[1:]))
    if curves:
        report.update(_curves(scores, task))
    return report


def _curves(scores, task):
    found = {}
    for region, end in zip(np.moveaxis(scores, 0, 2), REGIONS):
        named = dict(zip(task.classes, region))
        found[f'curves{end}'] = {n: curve_points(*h) for n, h in named.items()}
        found[f'calibration{end}'] = {
            n: calibration(*h)
            for n, h in named.items()
        }
    return found


def _rankings(sums, scores, weights):
    """Pooled ROC AUC and average precision of every draw, (draws, R, C, 2),
    of which the first is the test set as it is.
    """
    whole = rank_histograms(*scores)[None]
    if len(weights) == 1:
        return whole
    draws = resampled_rankings((one['scores'] for one in sums), scores,
                               weights)
    # moved by what their coarser bins do to the whole set
    draws = (draws[1:] + whole - draws[:1]).clip(0, 1)
    return np.concatenate([whole, draws])


def gather(sums: Sequence[dict], task: Task) -> tuple[dict, np.ndarray]:
    """Go through the sums of all images once; refuse those that do not fit.

    Returns:
        tuple[dict, ndarray]: The sums without scores, stacked over images,
        and the scores of all images together, (2, R, C, bins).
    """
    if not len(sums):
        raise ValueError(f'Task {task.name!r}: no image to evaluate. Check '
                         'the image and annotation folders of the test set.')
    light = []
    for one in sums:
        _check_alike(one, light[0] if light else one, task)
        if not light:
            shape = 2, len(one['counts']), task.num_classes, len(EDGES)
            scores = np.zeros(shape, np.int64)
        light.append({k: v for k, v in one.items() if k != 'scores'})
        places, counts = unpack_histograms(one['scores'])
        scores.reshape(2, -1)[:, places] += counts
    return {key: np.stack([p[key] for p in light]) for key in light[0]}, scores


def _check_alike(one, first, task):
    """Refuse sums of another task or with other thresholds."""
    classes = one['thresholds'].shape[1]
    if classes != task.num_classes:
        raise ValueError(f'Task {task.name!r} has {task.num_classes} classes, '
                         f'but the sums have {classes}.')
    for key in ('points', 'thresholds'):
        if not np.array_equal(one[key], first[key]):
            raise ValueError(f'Task {task.name!r}: sums with {key} '
                             f'{one[key].tolist()} and {first[key].tolist()} '
                             'cannot be mixed.')
    if one['counts'].shape != first['counts'].shape:
        raise ValueError(f'Task {task.name!r}: images with and without a '
                         'field of view cannot be mixed.')


def _each(tables, act):
    return {
        kind: {
            key: {
                name: act(values)
                for name, values in row.items()
            }
            for key, row in table.items()
        }
        for kind, table in tables.items()
    }
