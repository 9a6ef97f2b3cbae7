"""What label maps of a photograph amount to: counts, areas, diameters.

Pure functions. Everything is measured inside the field of view, because there
is no retina outside it. ``docs/measurements.md`` defines every column, with
units and formulae, and says how far to trust it.
"""
from collections.abc import Mapping, Sequence

import cv2
import numpy as np

from mbos.io.photographs import is_colourless
from mbos.tasks import Task

Value = int | float | str | None
Row = dict[str, Value]

DISC_NAMES = ('disc', 'optic_disc', 'od')
"""tuple[str]: Names of the class that shows the eye's side."""
CENTRED = 0.1
"""Share of the field of view's width: a disc that lies closer to its centre
does not show the side."""
SECOND = 0.1
"""Share of the largest part's area from which on another part is doubtful."""
SMALL_DIAMETER = 256
"""Pixels; smaller fields of view show neither thin vessels nor small lesions.
"""
SMALL_SHARE = 0.1
"""Of the photograph's area."""
DARK = 20
"""Grey value below which more than half of a mostly dark view lies: the one
that separates retina from background in preparation."""


def columns(tasks: Sequence[Task]) -> list[str]:
    """Names of what :func:`measure` returns, in its order."""
    names = ['field_of_view.area_px', 'field_of_view.diameter_px']
    for task in tasks:
        names += _columns_of(task)
    if _disc_task(tasks) is not None:
        names += ['disc_offset_share', 'eye_side']
    return names + ['flags']


def _columns_of(task: Task) -> list[str]:
    outer, *inner = task.classes
    if task.nested:
        names = [
            f'{outer}.components', f'{outer}.centre_x_px',
            f'{outer}.centre_y_px'
        ]
        names += [
            f'{name}.{quantity}' for name in task.classes
            for quantity in ('area_px', 'area_share', 'vertical_diameter_px')
        ]
        names += [f'{name}_to_{outer}_vertical' for name in inner]
    elif inner:
        names = [
            f'{name}.{quantity}' for name in task.classes
            for quantity in ('components', 'area_px', 'area_share')
        ]
    else:
        names = ['components', 'area_px', 'density']
    return [f'{task.name}.{name}' for name in names]


def measure(labels: Mapping[str, np.ndarray],
            tasks: Sequence[Task],
            field_of_view: np.ndarray,
            image: np.ndarray | None = None,
            certain: bool = True,
            several: bool = False) -> Row:
    """Measure the label maps of a photograph.

    Args:
        labels (dict[str, ndarray]): Label maps (H, W), uint8, by task name.
        tasks (Sequence[Task]): The tasks to measure.
        field_of_view (ndarray): (H, W), not 0 inside.
        image (ndarray, optional): RGB photograph (H, W, 3), uint8, for the
            flags on darkness and colour.
        certain (bool): Whether the field of view looks like one.
        several (bool): Whether there are several fields of view of like
            size. Default: False.

    Returns:
        dict[str, int | float | str | None]: By :func:`columns`; None where
        there is nothing to measure.
    """
    inside = (np.asarray(field_of_view) > 0).astype(np.uint8) * 255
    area = cv2.countNonZero(inside)
    left, top, width, height = cv2.boundingRect(inside)
    window = (slice(top, top + height), slice(left, left + width))
    row = {
        'field_of_view.area_px': area,
        'field_of_view.diameter_px': max(width, height)
    }
    flags = ['several_fields_of_view'] if several else []
    flags += _flags_of_view(inside, max(width, height), image, certain
                            or several)
    for task in tasks:
        plane = labels[task.name][window] & inside[window]
        plane[plane > task.num_classes] = 0  # 255, ignored
        if task.nested:
            plane, (x, y) = _cropped(plane)
            number, sizes = _parts(plane)
            flags += _flags_of_parts(task, sizes)
            if len(sizes):
                plane = np.where(number == 1 + np.argmax(sizes), plane, 0)
            row.update(
                _nested(task, plane, area, (left + x, top + y), len(sizes)))
        else:
            row.update(_exclusive(task, plane, area))
    task = _disc_task(tasks)
    if task is not None:
        row.update(_side(row, task, left, width))
    row['flags'] = ' '.join(flags)
    return row


def _exclusive(task: Task, plane: np.ndarray, area: int) -> Row:
    """Number of parts and area of every class."""
    row = {}
    for value, name in enumerate(task.classes, 1):
        key, share = f'{task.name}.{name}', 'area_share'
        if task.num_classes == 1:
            key, share = task.name, 'density'
        mask = (plane == value).view(np.uint8)
        pixels = int(np.count_nonzero(mask))
        row[f'{key}.components'] = _number_of_parts(mask)
        row[f'{key}.area_px'] = pixels
        row[f'{key}.{share}'] = pixels / area if area else None
    return row


def _nested(task: Task, plane: np.ndarray, area: int, corner: tuple[int, int],
            components: int) -> Row:
    """Areas and diameters in the largest outer part, which is all of plane."""
    outer, *inner = task.classes
    key = f'{task.name}.{outer}'
    row = dict.fromkeys(_columns_of(task))
    row[f'{key}.components'] = components
    for value, name in enumerate(task.classes, 1):
        mask = plane >= value
        pixels = int(np.count_nonzero(mask))
        row[f'{task.name}.{name}.area_px'] = pixels
        row[f'{task.name}.{name}.area_share'] = pixels / area if area else None
        row[f'{task.name}.{name}.vertical_diameter_px'] = height_of(mask)
    if components:
        rows, cols = np.nonzero(plane)
        row[f'{key}.centre_x_px'] = float(corner[0] + cols.mean())
        row[f'{key}.centre_y_px'] = float(corner[1] + rows.mean())
        whole = row[f'{key}.vertical_diameter_px']
        for name in inner:
            part = row[f'{task.name}.{name}.vertical_diameter_px']
            row[f'{task.name}.{name}_to_{outer}_vertical'] = part / whole
    return row


def height_of(mask: np.ndarray) -> int:
    """Vertical diameter: the largest number of pixels in one column.

    The same as in the metrics, which follow REFUGE.
    """
    return int(mask.sum(axis=0).max(initial=0))


def _cropped(plane: np.ndarray) -> tuple[np.ndarray, tuple[int, int]]:
    """The part of a plane that is not 0, and its left and top."""
    if not plane.any():
        return plane, (0, 0)
    x, y, width, height = cv2.boundingRect(plane)
    return plane[y:y + height, x:x + width], (x, y)


def _parts(plane: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Numbered parts, joined by sides or corners, and their areas."""
    if not plane.any():  # OpenCV does not survive arrays without pixels
        return np.zeros(plane.shape, np.int32), np.zeros(0, np.int32)
    count, number, stats, _ = cv2.connectedComponentsWithStats(
        np.ascontiguousarray(plane), connectivity=8)
    return number, stats[1:count, cv2.CC_STAT_AREA]


def _number_of_parts(mask: np.ndarray) -> int:
    """As many as :func:`_parts` finds, by their outlines: in a tenth of the
    time."""
    if not mask.any():
        return 0
    _, hierarchy = cv2.findContours(mask, cv2.RETR_CCOMP,
                                    cv2.CHAIN_APPROX_SIMPLE)
    # contours without a parent are no holes
    return int(np.count_nonzero(hierarchy[0, :, 3] < 0))


def _disc_task(tasks: Sequence[Task]) -> Task | None:
    """The task whose outermost class is the optic disc."""
    for task in tasks:
        if task.nested and task.classes[0].lower() in DISC_NAMES:
            return task
    return None


def _side(row: Row, task: Task, left: int, width: int) -> Row:
    """The eye's side by where the disc lies: the nose is on its side."""
    centre = row[f'{task.name}.{task.classes[0]}.centre_x_px']
    if centre is None:
        return dict(disc_offset_share=None, eye_side=None)
    offset = (centre - (left + (width - 1) / 2)) / width
    side = None
    if abs(offset) >= CENTRED:
        side = 'right' if offset > 0 else 'left'
    return dict(disc_offset_share=offset, eye_side=side)


def _flags_of_view(inside: np.ndarray, diameter: int, image: np.ndarray | None,
                   certain: bool) -> list[str]:
    flags = []
    if not certain:
        flags.append('no_field_of_view')
    if diameter < SMALL_DIAMETER or (cv2.countNonZero(inside)
                                     < SMALL_SHARE * inside.size):
        flags.append('small_field_of_view')
    if image is not None:
        if _median_grey(image, inside) < DARK:
            flags.append('mostly_dark')
        if is_colourless(image):
            flags.append('no_colour')
    return flags


def _median_grey(image: np.ndarray, inside: np.ndarray) -> float:
    """Median grey value of a photograph, 0 where nothing is inside."""
    grey = cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY)
    counts = cv2.calcHist([grey], [0], inside, [256], [0, 256])
    ranks = np.cumsum(counts, dtype=np.float64)
    middle = (ranks[-1] - 1) // 2, ranks[-1] // 2
    return float(np.searchsorted(ranks, middle, 'right').mean()) \
        if ranks[-1] else 0.0


def _flags_of_parts(task: Task, sizes: np.ndarray) -> list[str]:
    """Whether there is exactly one outer part worth the name."""
    if not len(sizes):
        return [f'no_{task.classes[0]}']
    largest = np.sort(sizes)[::-1]
    if len(sizes) > 1 and largest[1] >= SECOND * largest[0]:
        return [f'second_{task.classes[0]}']
    return []
