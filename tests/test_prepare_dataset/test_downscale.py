"""Label maps scaled down: sizes stay honest, small things stay there."""
import cv2
import numpy as np
import pytest

from mbos.io.downscale import scale_labels


def test_shares_of_a_pixel():
    labels = np.zeros((4, 6), np.uint8)
    labels[:2, :2] = 3  # all of the first pixel
    labels[0, 2:4] = 3  # half of the second
    labels[0, 4] = 3  # a quarter of the third
    assert scale_labels(labels, (3, 2)).tolist() == [[3, 3, 0], [0, 0, 0]]
    assert scale_labels(np.uint8([[1, 2], [2, 0]]), (1, 1)).tolist() == [[2]]
    # Together they cover three quarters, none of them half.
    labels = np.zeros((4, 4), np.uint8)
    labels[:2, :2] = [[1, 1], [2, 0]]
    labels[2:, :2] = 2
    assert scale_labels(labels, (2, 2)).tolist() == [[1, 0], [2, 0]]
    assert (scale_labels(np.full((50, 40), 2, np.uint8), (20, 25)) == 2).all()


@pytest.mark.parametrize('side', [60, 30, 13])
def test_every_speck_survives(side):
    specks = {2: (5, 7), 3: (50, 51), 4: (93, 20)}
    labels = np.zeros((100, 100), np.uint8)
    for value, place in specks.items():
        labels[place] = value
    small = scale_labels(labels, (side, side))
    for value, (row, column) in specks.items():
        at = np.argwhere(small == value)
        assert at.tolist() == [[row * side // 100, column * side // 100]]


@pytest.mark.parametrize('factor, share, parts', [(0.6, 0.98, 3),
                                                  (0.45, 0.88, 13)])
@pytest.mark.parametrize('slope', [0.0, 0.3, 1.0, -0.7])
def test_thin_vessel_is_neither_torn_nor_thickened(slope, factor, share,
                                                   parts):
    labels = np.zeros((200, 200), np.uint8)
    start, end = (10, round(100 - 90 * slope)), (190, round(100 + 90 * slope))
    cv2.line(labels, start, end, 1, thickness=1)
    side = round(200 * factor)
    small = scale_labels(labels, (side, side))
    columns = np.flatnonzero(small.any(axis=0))
    expected = round(181 * factor)
    assert share * expected <= len(columns) <= expected + 2
    assert cv2.connectedComponents(small, connectivity=8)[0] - 1 <= parts
    # One pixel wide, a second one where it steps aside.
    assert small.sum() <= 1.5 * expected
