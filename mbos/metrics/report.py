"""Metrics of a test set from the sums of its images.

The sums may be a list in memory or read from files one by one: they are gone
through twice at most, and only a few numbers per image are kept.
"""
from collections.abc import Sequence

import numpy as np

from mbos.tasks import Task
from .bootstrap import Bootstrap, resampled_rankings
from .score_curves import calibration, curve_points
from .scores import rank_histograms, unpack_histograms
from .tables import (REGIONS, comparable_table, each_cell, image_rows,
                     published_table)


def compute(sums: Sequence[dict],
            task: Task,
            names: Sequence[str] | None = None,
            bootstrap: Bootstrap | None = None) -> dict:
    """Turn the sums of images into metrics.

    ``sums`` are what ``sums.update`` returned, one per image, in the order of
    the test set, all with the same arguments; ``names`` are of the images.

    Returns:
        dict: ``classes``, ``nested``, ``images``, how many; ``thresholds`` by
        operating point and class; ``published`` and ``comparable``: {metric:
        {class or 'background' or 'mean': float}}, NaN where undefined;
        ``intervals``, both tables with (low, high), undefined without a
        bootstrap or with a single image; ``per_image``, see ``image_rows``;
        ``curves``, ``calibration`` and, with a field of view, the same with
        ``-fov``, by class, see ``score_curves``.
    """
    count = len(sums)
    stacked, scores = gather(sums, task)
    weights = np.ones((1, count))
    if bootstrap is not None and count > 1:
        weights = np.concatenate([weights, bootstrap.weights(count)])
    rankings = _rankings(sums, task, scores, weights)
    tables = dict(
        published=published_table(stacked, task, weights),
        comparable=comparable_table(stacked, task, weights, rankings))
    interval = (bootstrap or Bootstrap()).interval
    report = dict(
        classes=list(task.classes),
        nested=task.nested,
        images=count,
        thresholds={
            str(point): dict(zip(task.classes, values.tolist()))
            for point, values in zip(stacked['points'][0],
                                     stacked['thresholds'][0])
        },
        intervals={
            kind: each_cell(table, lambda draws: interval(draws[1:]))
            for kind, table in tables.items()
        },
        per_image=image_rows(stacked, task, names or range(count)))
    for kind, table in tables.items():
        report[kind] = each_cell(table, lambda draws: float(draws[0]))
    for region, end in zip(np.moveaxis(scores, 0, 2), REGIONS):
        by_class = dict(zip(task.classes, region))
        report[f'curves{end}'], report[f'calibration{end}'] = ({
            name:
            function(*counts)
            for name, counts in by_class.items()
        } for function in (curve_points, calibration))
    return report


def _rankings(sums, task, scores, weights):
    """Pooled ROC AUC and average precision of every draw, (draws, R, C, 2),
    of which the first is the test set as it is.
    """
    whole = rank_histograms(*scores)[None]
    if len(weights) == 1:
        return whole
    images = (
        unpack_histograms(one['scores'], task.num_classes) for one in sums)
    draws = resampled_rankings(images, scores, weights)
    # moved by what their coarser bins do to the whole set
    draws = (draws[1:] + whole - draws[:1]).clip(0, 1)
    return np.concatenate([whole, draws])


def gather(sums: Sequence[dict], task: Task) -> tuple[dict, np.ndarray]:
    """The sums of all images without scores, stacked, and the scores of all
    images together, (2, R, C, bins); a ValueError if there are no images.
    """
    if not len(sums):
        raise ValueError(f'Task {task.name!r}: no image to evaluate. Check '
                         'the image and annotation folders of the test set.')
    scores, light = np.int64(0), []
    for one in sums:
        light.append({k: v for k, v in one.items() if k != 'scores'})
        scores = scores + unpack_histograms(one['scores'], task.num_classes)
    return {key: np.stack([p[key] for p in light]) for key in light[0]}, scores
