"""What label maps of a photograph amount to: counts, areas, diameters.

Everything is measured inside the field of view, because there is no retina
outside it. ``docs/measurements.md`` defines every column, with units and
formulae, and says how far to trust it.
"""
from collections.abc import Mapping, Sequence

import cv2
import numpy as np

from mbos.io.photographs import is_colourless
from mbos.tasks import Task

Row = dict[str, int | float | str | None]

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
    view = np.ones((1, 1), np.uint8)
    return list(measure({t.name: 0 * view for t in tasks}, tasks, view))


def measure(labels: Mapping[str, np.ndarray],
            tasks: Sequence[Task],
            field_of_view: np.ndarray,
            image: np.ndarray | None = None,
            certain: bool = True,
            several: bool = False) -> Row:
    """Measure the label maps of a photograph.

    Args:
        labels: Label maps (H, W), uint8, by task name.
        tasks: The tasks to measure.
        field_of_view: (H, W), not 0 inside.
        image: RGB photograph (H, W, 3), uint8, for the flags on darkness and
            colour.
        certain: Whether the field of view looks like one.
        several: Whether there are several of like size.

    Returns:
        dict: By :func:`columns`; None where there is nothing to measure.
    """
    inside = (np.asarray(field_of_view) > 0).astype(np.uint8) * 255
    area = cv2.countNonZero(inside)
    left, _, width, height = cv2.boundingRect(inside)
    row: Row = {
        'field_of_view.area_px': area,
        'field_of_view.diameter_px': max(width, height)
    }
    flags = ['several_fields_of_view'] if several else []
    if not (certain or several):
        flags.append('no_field_of_view')
    if (max(width, height) < SMALL_DIAMETER
            or area < SMALL_SHARE * inside.size):
        flags.append('small_field_of_view')
    if image is not None:
        flags += _flags_of_image(image, inside, area)
    side = {}
    for task in tasks:
        plane = labels[task.name] & inside
        plane[plane > task.num_classes] = 0  # 255, ignored
        if not task.nested:
            row |= _exclusive(task, plane, area)
            continue
        of_task, doubts = _nested(task, plane, area)
        row |= of_task
        flags += doubts
        outer = task.classes[0]
        if outer.lower() in DISC_NAMES and not side:
            side = _side(row[f'{task.name}.{outer}.centre_x_px'], left, width)
    return row | side | dict(flags=' '.join(flags))


def _flags_of_image(image: np.ndarray, inside: np.ndarray,
                    area: int) -> list[str]:
    flags = []
    grey = cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY)
    if 2 * cv2.countNonZero(cv2.inRange(grey, 0, DARK - 1) & inside) > area:
        flags.append('mostly_dark')
    if is_colourless(image):
        flags.append('no_colour')
    return flags


def _exclusive(task: Task, plane: np.ndarray, area: int) -> Row:
    """Number of parts and area of every class."""
    row: Row = {}
    for value, name in enumerate(task.classes, 1):
        key, share = f'{task.name}.{name}', 'area_share'
        if task.num_classes == 1:
            key, share = task.name, 'density'
        mask = (plane == value).view(np.uint8)
        pixels = cv2.countNonZero(mask)
        row[f'{key}.components'] = _number_of_parts(mask)
        row[f'{key}.area_px'] = pixels
        row[f'{key}.{share}'] = pixels / area if area else None
    return row


def _number_of_parts(mask: np.ndarray) -> int:
    """Parts, joined by sides or corners, by their outlines: in a tenth of the
    time that it takes to number them."""
    _, hierarchy = cv2.findContours(mask, cv2.RETR_CCOMP,
                                    cv2.CHAIN_APPROX_SIMPLE)
    # contours without a parent are no holes
    return 0 if hierarchy is None else int((hierarchy[0, :, 3] < 0).sum())


def _nested(task: Task, plane: np.ndarray, area: int) -> tuple[Row, list[str]]:
    """Areas and diameters in the largest outer part, and flags: whether there
    is exactly one outer part worth the name."""
    outer, *inner = task.classes
    x, y, width, height = cv2.boundingRect(plane)
    plane = np.ascontiguousarray(plane[y:y + height, x:x + width])
    flags = [f'no_{outer}']
    sizes = np.zeros(0)
    if plane.size:  # OpenCV does not survive arrays without pixels
        _, number, stats, _ = cv2.connectedComponentsWithStats(
            plane, connectivity=8)
        sizes = stats[1:, cv2.CC_STAT_AREA]
        plane[number != 1 + sizes.argmax()] = 0
        large = np.count_nonzero(sizes >= SECOND * sizes.max())
        flags = [f'second_{outer}'] if large > 1 else []
    rows, cols = np.nonzero(plane)
    row: Row = {
        f'{outer}.components': len(sizes),
        f'{outer}.centre_x_px': float(x + cols.mean()) if len(sizes) else None,
        f'{outer}.centre_y_px': float(y + rows.mean()) if len(sizes) else None
    }
    for value, name in enumerate(task.classes, 1):
        mask = plane >= value
        pixels = int(np.count_nonzero(mask))
        row[f'{name}.area_px'] = pixels
        row[f'{name}.area_share'] = pixels / area if area else None
        # of the column with most pixels, as in the metrics and in REFUGE
        row[f'{name}.vertical_diameter_px'] = int(
            mask.sum(axis=0).max(initial=0))
    whole = row[f'{outer}.vertical_diameter_px']
    for name in inner:
        part = row[f'{name}.vertical_diameter_px']
        row[f'{name}_to_{outer}_vertical'] = part / whole if whole else None
    return {f'{task.name}.{key}': value for key, value in row.items()}, flags


def _side(centre: float | None, left: int, width: int) -> Row:
    """The eye's side by where the disc lies: the nose is on its side."""
    if centre is None:
        return dict(disc_offset_share=None, eye_side=None)
    offset = (centre - (left + (width - 1) / 2)) / width
    side = None
    if abs(offset) >= CENTRED:
        side = 'right' if offset > 0 else 'left'
    return dict(disc_offset_share=offset, eye_side=side)
