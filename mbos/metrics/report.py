"""Metrics of a test set from the sums of its images.

The sums may be a list in memory or read from a file one by one: they are gone
through twice at most, and nothing that is kept grows with more than a few
numbers per image.
"""
from collections.abc import Callable, Sequence

import numpy as np

from mbos.tasks import Task
from .bootstrap import Bootstrap, resampled_rankings
from .score_curves import calibration, curve_points
from .scores import rank_histograms, unpack_histograms
from .tables import REGIONS, comparable_table, image_rows, published_table


def compute(sums: Sequence[dict],
            task: Task,
            names: Sequence[str] | None = None,
            bootstrap: Bootstrap | None = None,
            curves: bool = False) -> dict:
    """Turn the sums of images into metrics.

    Args:
        sums: What ``sums.update`` returned, one per image, in the order of
            the test set, all with the same arguments.
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
        ValueError: If there are no images.
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
    thresholds = stacked['thresholds'][0].tolist()
    report = dict(
        task=task.name,
        num_images=count,
        threshold=thresholds[0][0],
        thresholds={
            str(point): dict(zip(task.classes, values))
            for point, values in zip(stacked['points'][0], thresholds)
        },
        **_of_cells(tables, lambda values: float(values[0])),
        per_image=image_rows(stacked, task, names
                             or list(map(str, range(count)))))
    if bootstrap is not None:
        report['intervals'] = _of_cells(
            tables, lambda values: bootstrap.interval(values[1:]))
    if curves:
        for region, end in zip(np.moveaxis(scores, 0, 2), REGIONS):
            for key, function in (('curves', curve_points), ('calibration',
                                                             calibration)):
                report[key + end] = {
                    name: function(*own)
                    for name, own in zip(task.classes, region)
                }
    return report


def _of_cells(tables: dict, function: Callable) -> dict:
    """Call a function for each cell of some tables."""
    return {
        kind: {
            key: {
                name: function(values)
                for name, values in row.items()
            }
            for key, row in table.items()
        }
        for kind, table in tables.items()
    }


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
    """Go through the sums of all images once.

    Returns:
        tuple[dict, ndarray]: The sums without scores, stacked over images,
        and the scores of all images together, (2, R, C, bins).

    Raises:
        ValueError: If there are no images.
    """
    if not len(sums):
        raise ValueError(f'Task {task.name!r}: no image to evaluate. Check '
                         'the image and annotation folders of the test set.')
    scores, light = np.int64(0), []
    for one in sums:
        light.append({k: v for k, v in one.items() if k != 'scores'})
        scores = scores + unpack_histograms(one['scores'], task.num_classes)
    return {key: np.stack([p[key] for p in light]) for key in light[0]}, scores
