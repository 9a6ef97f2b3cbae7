"""The field of view: where the retina is in a photograph.

The published rule (docs/method.md, section 1) is a grey value above 20,
dilated by a 5x5 ellipse, and the bounding box of the largest outer contour. It
stands wherever its contour looks like a field of view. Vignetted photographs,
whose dark side falls below 20, and backgrounds brighter than 20 are searched
again with other thresholds; a round contour is preferred to a wider banner.
Where nothing looks like a retina, or two retinas do, nothing is cropped.
"""
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from .geometry import Box

GREY_THRESHOLD = 20
DARK_THRESHOLDS = (14, 10, 7)
BRIGHT_THRESHOLDS = (30, 40, 50, 60, 80, 100)
SMALLEST = 0.5  # share of the photograph's width or height
SMALLEST_ALONE = 0.1  # where the rest is black; others are bright spots
ALONE = 0.9  # share of all that is not black that a small one holds
SEARCHED_SIDE = 600  # of the picture in which discs that touch are told apart
LIKE = 0.4  # share of the largest area from which on another is like it
OBLONG = 2  # ratio of the sides from which on a region is a strip
ELLIPSE = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5))


@dataclass(frozen=True)
class FieldOfView:
    """Where the retina is in a photograph: its box, and its mask (H, W) of 1
    inside, uint8.

    Not ``certain`` is the whole photograph, where nothing looks like a retina,
    or ``several`` of like size do, whose boxes these are.
    """
    box: Box
    mask: np.ndarray
    certain: bool = True
    several: tuple[Box, ...] = ()


def find_field_of_view(image: np.ndarray) -> FieldOfView:
    """Find the retina in an RGB photograph (H, W, 3), uint8."""
    smooth = cv2.medianBlur(image, 5)
    grey, dark = _grey(image), _grey(smooth)
    planes = [(grey, GREY_THRESHOLD)]  # as published
    # Noise of the black background must not survive a low threshold.
    planes += [(dark, threshold) for threshold in DARK_THRESHOLDS]
    # The retina is red; a film scan's background is grey or green.
    planes += [(smooth[..., 0], threshold) for threshold in BRIGHT_THRESHOLDS]
    shape, faint = grey.shape, dark > DARK_THRESHOLDS[-1]
    for number, (plane, threshold) in enumerate(planes):
        contours = _contours(plane > threshold)
        retina = next((c for c in contours if _looks_like_retina(c, shape)),
                      None)
        if retina is None:
            continue
        others = _like(retina, contours) or _like(retina, _contours(faint))
        if others:
            return _whole(shape, [retina, *others])
        # A dim side is frayed at any threshold; the retina is not.
        return _field_of_view(
            cv2.convexHull(retina) if number else retina, shape)
    several = _several_retinas(image)
    small = None if several else _small_retina(grey > GREY_THRESHOLD, faint)
    if small is None:
        return _whole(shape, several)
    return _field_of_view(small, shape)


def _grey(image: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)


def _contours(foreground: np.ndarray, dilate: bool = True) -> list[np.ndarray]:
    """Outer contours, the largest first."""
    foreground = foreground.astype(np.uint8)
    if dilate:
        foreground = cv2.dilate(foreground, ELLIPSE)
    contours, _ = cv2.findContours(foreground, cv2.RETR_EXTERNAL,
                                   cv2.CHAIN_APPROX_NONE)
    return sorted(contours, key=cv2.contourArea, reverse=True)


def _looks_like_retina(contour: np.ndarray,
                       shape: tuple[int, int],
                       smallest: float = SMALLEST) -> bool:
    """Whether a contour is convex (a dark side leaves a dent), roundish (a
    bright background fills the corners) and large enough.
    """
    x, y, width, height = cv2.boundingRect(contour)
    if max(width / shape[1], height / shape[0]) < smallest:
        return False
    hull = cv2.convexHull(contour)
    solidity = cv2.contourArea(contour) / max(cv2.contourArea(hull), 1.0)
    fill = cv2.contourArea(hull) / max((width - 1) * (height - 1), 1)
    cut_at_sides = x == 0 or x + width == shape[1]
    # A circle that is cut above and below only gets wider than high.
    roundish = cut_at_sides or width > 0.985 * height
    return solidity > 0.97 and 0.7 < fill < 0.96 and roundish


def _like(retina: np.ndarray,
          contours: Sequence[np.ndarray]) -> list[np.ndarray]:
    """What is beside the retina, about as large, and no strip."""
    least, found = LIKE * cv2.contourArea(retina), []
    left, top, width, height = cv2.boundingRect(retina)
    for contour in contours:
        x, y, w, h = cv2.boundingRect(contour)
        gaps = x - left - width, y - top - height, left - x - w, top - y - h
        is_strip = max(w, h) >= OBLONG * min(w, h)
        area = min(w * h, cv2.contourArea(contour))
        if max(gaps) >= 0 and not is_strip and area >= least:
            found.append(contour)
    return found


def _several_retinas(image: np.ndarray) -> list[np.ndarray]:
    """Discs of like size that touch each other or are small in a black frame;
    none unless there are several, which hold nearly all that is not black.
    """
    scale = max(1.0, max(image.shape[:2]) / SEARCHED_SIDE)
    size = [max(1, round(side / scale)) for side in image.shape[1::-1]]
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    bright = (_grey(small) > GREY_THRESHOLD).astype(np.uint8)
    parts = _parts(bright, max(3, min(size) // 5))
    discs = [
        part for part in parts
        if _looks_like_retina(part, bright.shape, SMALLEST_ALONE)
    ]
    areas = [cv2.contourArea(disc) for disc in discs]
    like = [n for n, area in enumerate(areas) if area >= LIKE * max(areas)]
    held = sum(areas[n] for n in like)
    if len(like) < 2 or held < ALONE * np.count_nonzero(bright):
        return []
    return [np.round(discs[n] * scale).astype(np.int32) for n in like]


def _parts(foreground: np.ndarray, width: int) -> list[np.ndarray]:
    """Contours of the parts that bridges narrower than this hold together."""
    brush = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (width, width))
    parts = []
    for core in _contours(cv2.erode(foreground, brush), dilate=False):
        part = cv2.drawContours(
            np.zeros_like(foreground), [core], -1, 1, thickness=cv2.FILLED)
        part = cv2.dilate(part, brush) & foreground
        parts.append(_contours(part, dilate=False)[0])
    return parts


def _small_retina(*foregrounds: np.ndarray) -> np.ndarray | None:
    """A disc in a large black frame, None if it may be a bright spot.

    The edge of a disc is where it is at any threshold, and beyond it there
    is nothing.
    """
    found = []
    for foreground in foregrounds:
        largest, *_ = _contours(foreground) or [None]
        if largest is None or not _looks_like_retina(largest, foreground.shape,
                                                     SMALLEST_ALONE):
            return None
        x, y, width, height = cv2.boundingRect(largest)
        inside = np.count_nonzero(foreground[y:y + height, x:x + width])
        if inside < ALONE * np.count_nonzero(foreground):
            return None
        found.append(largest)
    boxes = np.array([cv2.boundingRect(contour) for contour in found])
    is_stable = np.ptp(boxes, axis=0).max() <= 0.05 * boxes[:, 2:].max() + 4
    return found[0] if is_stable else None


def _whole(
    shape: tuple[int, int], several: Sequence[np.ndarray] = ()) -> FieldOfView:
    """The whole photograph, of which nobody knows what to leave out."""
    mask = np.full(shape, not len(several), np.uint8)
    cv2.drawContours(mask, several, -1, 1, thickness=cv2.FILLED)
    boxes = sorted(tuple(cv2.boundingRect(contour)) for contour in several)
    return FieldOfView((0, 0, shape[1], shape[0]), mask, False, tuple(boxes))


def _field_of_view(contour: np.ndarray, shape: tuple[int, int]) -> FieldOfView:
    mask = np.zeros(shape, np.uint8)
    cv2.drawContours(mask, [contour], -1, 1, thickness=cv2.FILLED)
    # Takes back the dilation, which the box keeps as published.
    mask = cv2.erode(mask, ELLIPSE)
    return FieldOfView(tuple(cv2.boundingRect(contour)), mask)
