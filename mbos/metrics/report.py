"""Metrics of a test set from the sums of its images.

The sums may be a list in memory or read from files one by one: they are gone
through twice at most, and only a few numbers per image are kept.
"""
from collections.abc import Sequence

import numpy as np

from mbos.tasks import Task
from .bootstrap import Bootstrap, pooled_rankings
from .scores import calibration, curve_points, unpack_histograms
from .tables import REGIONS, comparable, image_rows, published, table_of


def compute(sums: Sequence[dict],
            task: Task,
            names: Sequence[str] | None = None,
            bootstrap: Bootstrap | None = None) -> dict:
    """Turn the sums of images into metrics.

    ``sums`` are what ``sums.update`` returned, one per image, in the order of
    the test set, all with the same arguments; ``names`` are of the images.

    Returns the part of an evaluation's JSON that is about a task
    (docs/evaluation.md), with NaN where numbers are undefined, as intervals
    are without a bootstrap or with a single image.
    """
    count = len(sums)
    stacked, scores = gather(sums, task)
    weights = np.ones((1, count))
    if bootstrap is not None and count > 1:
        weights = np.concatenate([weights, bootstrap.weights(count)])
    images = (
        unpack_histograms(one['scores'], task.num_classes) for one in sums)
    rankings = pooled_rankings(scores, images, weights)
    tables = dict(
        published=published(stacked, task, weights),
        comparable=comparable(stacked, task, weights, rankings))
    interval = (bootstrap or Bootstrap()).interval

    def cell(draws):
        low, high = interval(draws[1:])
        return dict(value=float(draws[0]), low=low, high=high)

    report = dict(
        classes=list(task.classes),
        nested=task.nested,
        images=count,
        thresholds={
            str(point): dict(zip(task.classes, values.tolist()))
            for point, values in zip(stacked['points'][0],
                                     stacked['thresholds'][0])
        },
        per_image=image_rows(stacked, task, names or range(count)))
    for kind, values in tables.items():
        report[kind] = table_of(values, task, cell)
    for region, end in zip(np.moveaxis(scores, 0, 2), REGIONS):
        for key, function in (('curves', curve_points), ('calibration',
                                                         calibration)):
            report[key + end] = {
                name: function(*counts)
                for name, counts in zip(task.classes, region)
            }
    return report


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
