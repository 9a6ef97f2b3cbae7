"""Metrics of a test set from the sums of its images.

The sums may be a list in memory or read from a file one by one: they are gone
through twice at most, and nothing that is kept grows with more than a few
numbers per image.
"""
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from mbos.tasks import Task
from .bootstrap import Bootstrap, common_grid, grid_counts, resampled_ranking
from .score_curves import (calibration, curve_points, histogram_area,
                           histogram_precision)
from .score_histogram import Histogram, HistogramPool, unpack_histogram
from .tables import FOV, Draws, comparable_table, image_row, published_table


class Gathered(NamedTuple):
    """What one pass over the sums gives.

    Attributes:
        stacked: The sums but their scores, stacked over images.
        rows: Metrics of every image.
        pooled: Scores of all images by region ('' or '-fov') and class.
    """

    stacked: dict
    rows: list[dict]
    pooled: dict[str, list[Histogram]]


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
        dict: ``task``, ``num_images``, ``threshold``; ``thresholds``:
        {operating point: {class: float}}; ``published`` and ``comparable``:
        {metric: {class or 'background' or 'mean': float}}; ``per_image``: one
        dict per image, see ``image_row``. An undefined metric is NaN.
        ``intervals``: both tables with (low, high) instead of a value,
        undefined with a single image. ``curves``, ``calibration`` and, where
        every image has a field of view, the same with ``-fov``: see
        ``score_curves``, by class.

    Raises:
        ValueError: If there are no images, or sums that do not go together.
    """
    if names is not None and len(names) != len(sums):
        raise ValueError(f'Task {task.name!r}: {len(names)} names for '
                         f'{len(sums)} images.')
    gathered = gather(sums, task, names)
    count = len(gathered.rows)
    weights = np.ones((1, count))
    if bootstrap is not None and count > 1:
        weights = np.concatenate([weights, bootstrap.weights(count)])
    published, comparable = _tables(sums, task, gathered, weights)
    report = dict(
        task=task.name,
        num_images=count,
        threshold=float(gathered.stacked['threshold'][0]),
        thresholds=_thresholds(gathered.stacked, task),
        published=_first(published),
        comparable=_first(comparable),
        per_image=gathered.rows)
    if bootstrap is not None:
        report['intervals'] = dict(
            published=_intervals(published, bootstrap),
            comparable=_intervals(comparable, bootstrap))
    if curves:
        for region, histograms in gathered.pooled.items():
            named = list(zip(task.classes, histograms))
            report['curves' + region] = {n: curve_points(h) for n, h in named}
            report['calibration' + region] = {
                n: calibration(h)
                for n, h in named
            }
    return report


def gather(sums: Sequence[dict],
           task: Task,
           names: Sequence[str] | None = None) -> Gathered:
    """Go through the sums of all images once; refuse those that do not fit."""
    light, rows, pools, first = [], [], {}, None
    for index, one in enumerate(sums):
        first = first or one
        _check_alike(one, first, task)
        rows.append(
            image_row(one, task,
                      str(index) if names is None else names[index]))
        for region, own in regions_of(one):
            pool = pools.setdefault(region,
                                    [HistogramPool() for _ in task.classes])
            for channel, histograms in enumerate(pool):
                histograms.add(unpack_histogram(own['scores'][channel]))
        light.append(without_scores(one))
    if not rows:
        raise ValueError(f'Task {task.name!r}: no image to evaluate. Check '
                         'the image and annotation folders of the test set.')
    if not all('fov' in one for one in light):
        for one in light:
            one.pop('fov', None)
        pools.pop(FOV, None)
    pooled = {
        region: [pool.total() for pool in own]
        for region, own in pools.items()
    }
    return Gathered(_stack(light), rows, pooled)


def regions_of(sums: dict) -> list[tuple[str, dict]]:
    """List the regions that sums are of, by the ends of their metrics."""
    return [('', sums)] + ([(FOV, sums['fov'])] if 'fov' in sums else [])


def without_scores(sums: dict) -> dict:
    """Copy sums without their histograms.

    Arrays are copied: those of stored sums are parts of one buffer, all of
    which the smallest of them would keep in memory.
    """
    return {
        key:
        without_scores(value) if isinstance(value, dict) else
        np.array(value) if isinstance(value, np.ndarray) else value
        for key, value in sums.items() if key != 'scores'
    }


def _check_alike(one, first, task):
    """Refuse sums of another task or with other thresholds."""
    if one['counts'].shape[0] != task.num_classes:
        raise ValueError(
            f'Task {task.name!r} has {task.num_classes} classes, but the '
            f'sums have {one["counts"].shape[0]}.')
    if one['threshold'] != first['threshold']:
        raise ValueError(
            f'Task {task.name!r}: sums at threshold {one["threshold"]} '
            f'and at {first["threshold"]} cannot be mixed.')
    if list(one['points']) != list(first['points']) or any(
        (one['points'][name]['thresholds'] != own['thresholds']).any()
            for name, own in first['points'].items()):
        raise ValueError(f'Task {task.name!r}: sums at different operating '
                         'points cannot be mixed.')


def _stack(parts):
    """Stack dicts of arrays along a new first axis."""
    return {
        key:
        _stack([p[key] for p in parts])
        if isinstance(value, dict) else np.stack([p[key] for p in parts])
        for key, value in parts[0].items()
    }


def _thresholds(stacked, task):
    fixed = stacked['threshold'][0]
    found = {f'{float(fixed):.4g}': [fixed] * task.num_classes}
    for name, point in stacked['points'].items():
        found[name] = point['thresholds'][0]
    return {
        name: dict(zip(task.classes, map(float, values)))
        for name, values in found.items()
    }


def _tables(sums, task, gathered, weights):
    """Compute both tables for every row of the weights."""
    rankings = {
        region:
        np.array([[(histogram_area(h), histogram_precision(h))
                   for h in pooled]])
        for region, pooled in gathered.pooled.items()
    }
    if len(weights) > 1:
        for region, draws in _ranking_draws(sums, gathered.pooled,
                                            weights).items():
            rankings[region] = np.concatenate(
                [rankings[region],
                 _centred(draws, rankings[region])])
    draws = Draws(weights)
    return (published_table(gathered.stacked, task, draws),
            comparable_table(gathered.stacked, task, gathered.rows, draws,
                             rankings))


def _ranking_draws(sums, pooled, weights):
    """Pooled rankings on the common grid, (draws, C, 2) by region.

    The first draw is the test set as it is.
    """
    return {
        region:
        np.stack([
            _class_draws(sums, region, channel, histogram, weights)
            for channel, histogram in enumerate(own)
        ], 1)
        for region, own in pooled.items()
    }


def _class_draws(sums, region, channel, pooled, weights):
    """Pooled rankings of one class; counts come and go image by image."""
    grid = common_grid(pooled)
    counts = (
        grid_counts(
            unpack_histogram(dict(regions_of(one))[region]['scores'][channel]),
            grid) for one in sums)
    return resampled_ranking(counts, grid, weights)


def _centred(draws, exact):
    """Move values on the grid by what the grid does to the whole set."""
    return (draws[1:] + exact - draws[:1]).clip(0, 1)


def _first(table):
    return {
        key: {
            name: float(values[0])
            for name, values in row.items()
        }
        for key, row in table.items()
    }


def _intervals(table, bootstrap):
    return {
        key: {
            name: bootstrap.interval(values[1:])
            for name, values in row.items()
        }
        for key, row in table.items()
    }
