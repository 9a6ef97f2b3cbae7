"""Label maps, scaled down without losing what is small.

A pixel of the smaller map belongs to a class if at least half of its area
does, which keeps sizes honest. Thin structures, such as vessels, and specks,
such as micro-aneurysms, are kept besides (``docs/data_scaling.md``).
"""
import cv2
import numpy as np

HALF = 0.5
LONG = 8  # pixels of the smaller map that a thin structure must reach
CREST_SHARE = 0.25  # of its area, from which on a pixel of a crest is kept
CREST_HEIGHT = 0.02  # how much a crest stands out from both sides, at least
CREST_CURVATURE = 0.25  # of its height; edges of large areas have less
CREST_BLUR = 0.6  # pixels; without it, crests are frayed
DIRECTIONS = ((0, 1), (1, 0), (1, 1), (1, -1))


class _Plane:
    """One class of a label map: its value, its share of each pixel of the
    smaller map, and its connected parts in the larger one, by number (0 is
    outside), with their boxes (left, top, width, height, area).
    """

    def __init__(self, labels: np.ndarray, value: int, size: tuple[int, int]):
        mask = (labels == value).astype(np.uint8)
        self.value = value
        self.share = _shares(mask, size)
        _, self.parts, self.boxes, _ = cv2.connectedComponentsWithStats(
            mask, connectivity=8)


def scale_labels(labels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Scale a label map (H, W), uint8, down to ``size`` (width, height).

    Every connected part of a class has at least a pixel, unless another part
    needs the same.
    """
    out = np.zeros(size[::-1], np.uint8)
    planes = [
        _Plane(labels, value, size)
        for value in np.flatnonzero(np.bincount(labels.ravel())) if value
    ]
    largest, total = np.zeros((2, *out.shape), np.float32)
    for plane in planes:
        out[plane.share > largest] = plane.value
        np.maximum(largest, plane.share, out=largest)
        total += plane.share
    out[total < HALF] = 0
    for plane in planes:
        _add_crests(out, plane)
    for plane in planes:
        _restore_lost_parts(out, plane)
    return out


def _shares(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    # Eight bits are exact enough, and a third of the time of floats.
    share = cv2.resize(
        mask.astype(np.uint8) * 255, size, interpolation=cv2.INTER_AREA)
    return share * np.float32(1 / 255)


def _add_crests(out: np.ndarray, plane: _Plane) -> None:
    """Draw the middle of long structures of about a pixel's width."""
    size = out.shape[::-1]
    factor = np.max(np.divide(plane.parts.shape, out.shape))
    is_long = plane.boxes[:, 2:4].max(axis=1) >= LONG * factor
    is_long[0] = False
    if not is_long.any():
        return
    share = plane.share if is_long[1:].all() else _shares(
        is_long[plane.parts], size)
    smooth = np.pad(cv2.GaussianBlur(share, (0, 0), CREST_BLUR), 1)
    rows, columns = np.nonzero((share >= CREST_SHARE) & (out == 0))

    def at(down, right):
        return smooth[rows + 1 + down, columns + 1 + right]

    middle = at(0, 0)
    found = np.zeros(len(rows), bool)
    for down, right in DIRECTIONS:
        ahead, behind = at(down, right), at(-down, -right)
        higher = middle - np.maximum(ahead, behind) > CREST_HEIGHT
        sharp = 2 * middle - ahead - behind > CREST_CURVATURE * middle
        found |= higher & sharp
    out[rows[found], columns[found]] = plane.value


def _restore_lost_parts(out: np.ndarray, plane: _Plane) -> None:
    """Give each part that has no pixel left the one it covers most."""
    shape = plane.parts.shape
    rows = np.arange(shape[0]) * out.shape[0] // shape[0]
    columns = np.arange(shape[1]) * out.shape[1] // shape[1]
    kept = cv2.resize(
        (out == plane.value).astype(np.uint8),
        shape[::-1],
        interpolation=cv2.INTER_NEAREST)
    alive = np.bincount(plane.parts[kept > 0], minlength=len(plane.boxes)) > 0
    for part in np.flatnonzero(~alive[1:]) + 1:
        x, y, width, height, _ = plane.boxes[part]
        inside = plane.parts[y:y + height, x:x + width] == part
        at_row, at_column = np.nonzero(inside)
        at_row, at_column = rows[y + at_row], columns[x + at_column]
        most = np.argmax(plane.share[at_row, at_column])
        out[at_row[most], at_column[most]] = plane.value
