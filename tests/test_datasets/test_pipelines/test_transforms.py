from collections import Counter

import numpy as np
import pytest
from mmseg.datasets.pipelines import Compose

from mbos.datasets.pipelines.colour import RandomGrayscale
from mbos.datasets.pipelines.transforms import (CutOut, DiscSideFlip,
                                                FormatPlanes, IndependentFlip,
                                                LabelBorder, RotateFromList)
from mbos.io.labels import save_labels
from mbos.io.photographs import Layout


def results_of(labels):
    """Results as they are after LoadPlanes, the image in BGR."""
    red = 40 * np.minimum(labels, 4)
    image = np.stack([250 + 0 * labels, 7 + 0 * labels, red], -1)
    return {
        'img': image,
        'labels.lesion': labels.copy(),
        'seg_fields': ['labels.lesion'],
        'filename': 'eye.png',
        'dataset': 'ddr',
        'planes': dict(vessel={}, lesion={})
    }


def blocks(seed=0):
    values = np.random.default_rng(seed).integers(0, 5, (4, 4), np.uint8)
    return np.kron(values, np.ones((16, 16), np.uint8))


def test_labels_follow_the_image():
    """Off the blurred borders of the blocks, red shows the label."""
    pipeline = Compose([
        dict(type='Resize', img_scale=(96, 96), ratio_range=(0.5, 2.0)),
        dict(type='RandomCrop', crop_size=(32, 32)),
        dict(type='IndependentFlip'),
        dict(type='RotateFromList', angles=[15, -15, 0])
    ])
    for seed in range(10):
        np.random.seed(seed)
        results = pipeline(results_of(blocks(seed)))
        labels = results['labels.lesion'].astype(int)
        red = results['img'][..., 2].astype(int)
        # a shift by two pixels must differ from a good result
        planes = labels, np.roll(labels, 2, axis=(0, 1))
        agree, shifted = ((np.abs(red - 40 * p)[labels != 255] <= 2).mean()
                          for p in planes)  # yapf: disable
        assert agree >= 0.6 and agree > shifted


def test_flips_are_drawn_one_by_one():
    np.random.seed(0)
    flip, plane = IndependentFlip(), np.ones((2, 2), np.uint8)
    seen = Counter(
        flip(results_of(plane))['flip_direction'] for _ in range(1000))
    assert set(seen) == {None, 'horizontal', 'vertical', 'diagonal'}
    assert all(200 < count < 300 for count in seen.values())


def test_rotation_by_hand():
    labels = np.array([[1, 2, 3], [4, 0, 0], [0, 0, 0]], np.uint8)
    results = RotateFromList([90])(results_of(labels))
    # clockwise: the left column becomes the top row
    expected = [[0, 4, 1], [0, 0, 2], [0, 0, 3]]
    assert results['labels.lesion'].tolist() == expected
    # corners are filled
    results = RotateFromList([15.0])(results_of(np.ones((40, 40), np.uint8)))
    assert results['img'][0, 0].tolist() == [0] * 3
    assert results['labels.lesion'][0, 0] == 255
    assert results['labels.lesion'][20, 20] == 1


@pytest.mark.parametrize('horizontal, vertical, expected, direction', [
    (1, 0, [[2, 1], [4, 3]], 'horizontal'),
    (0, 1, [[3, 4], [1, 2]], 'vertical'),
    (1, 1, [[4, 3], [2, 1]], 'diagonal'),
    (0, 0, [[1, 2], [3, 4]], None),
])
def test_flip_by_hand(horizontal, vertical, expected, direction):
    flip = IndependentFlip(horizontal, vertical)
    results = flip(results_of(np.array([[1, 2], [3, 4]], np.uint8)))
    assert results['labels.lesion'].tolist() == expected
    assert (results['img'][..., 2] // 40).tolist() == expected
    assert results['flip_direction'] == direction
    assert results['flip'] is (direction is not None)


def test_cut_out_stays_in_its_ranges():
    np.random.seed(0)
    whole = np.zeros((200, 300), np.uint8)
    inside = [whole[CutOut().draw_box(200, 300)] for _ in range(500)]
    height, width = np.array([box.shape for box in inside]).T
    area = height * width / whole.size
    aspect = height / width
    # sides are rounded to whole pixels
    assert 0.019 < area.min() < 0.05 and 0.35 < area.max() < 0.405
    assert 0.28 < aspect.min() < 0.5 and 2.5 < aspect.max() < 3.4
    assert whole[CutOut(aspect=(900, 900)).draw_box(4, 4)].size == 0


def test_cut_out_fills_image_and_labels():
    np.random.seed(1)
    before = results_of(np.ones((50, 60), np.uint8))
    image = before['img'].copy()
    after = CutOut(prob=1.0, area=(0.2, 0.2), aspect=(1.0, 1.0))(before)
    inside = after['labels.lesion'] == 255
    # sqrt(0.2 * 3000) = 24.5 pixels a side
    assert inside.sum() == 24**2
    assert (after['labels.lesion'][~inside] == 1).all()
    assert (after['img'][~inside] == image[~inside]).all()
    assert len(np.unique(after['img'][inside])) > 200


def test_format_reports_a_forgotten_plane():
    results = results_of(blocks())
    results['img'] = results['img'][:20]
    with pytest.raises(ValueError, match='skips seg_fields'):
        FormatPlanes()(results)


@pytest.mark.parametrize('transform, arguments', [
    (IndependentFlip, dict(prob_vertical=1.5)),
    (CutOut, dict(prob=-1)),
    (DiscSideFlip, dict(folder='x', side='top')),
    (RandomGrayscale, dict(channel_order='RGB')),
])
def test_wrong_arguments(transform, arguments):
    with pytest.raises(ValueError, match='Expected'):
        transform(**arguments)


@pytest.mark.parametrize('rows, border, expected', [
    (5, (1, 2, 5), [0, 3, 4]),
    (2, (0, 0, 9), []),
    # 34 x 2048 / 2124 = 32.8
    (2048, (34, 34, 2124), [*range(33), *range(2015, 2048)]),
])  # yapf: disable
def test_published_labels_of_padding(rows, border, expected):
    plane = np.zeros((rows, 1), np.uint8)
    results = {'labels.odoc': plane, 'labels.vessel': plane}
    out = LabelBorder('odoc', 2, *border)(dict(results))
    assert np.flatnonzero(out['labels.odoc'] == 2).tolist() == expected
    assert out['labels.odoc'].dtype == np.uint8
    assert not plane.any() and not out['labels.vessel'].any()
    assert LabelBorder('lesion', 2, 1, 1, 9)(results) is results


def disc(column):
    """A disc of 4 x 4 pixels that begins at a column of 20."""
    labels = np.zeros((10, 20), np.uint8)
    labels[3:7, column:column + 4] = 1
    labels[4:6, column + 1:column + 3] = 2
    return labels


SPECKS = disc(1)
SPECKS[::4, 14::2] = 1
IGNORED = disc(14)
IGNORED[:, :10] = 255


@pytest.mark.parametrize('labels, side', [
    (disc(15), 'right'),
    (SPECKS, 'left'),
    (IGNORED, 'right'),
    (0 * SPECKS, None),
])
@pytest.mark.parametrize('wanted', ['left', 'right'])
def test_flips_eyes_to_one_side(tmp_path, labels, side, wanted):
    save_labels(tmp_path / 'eye 1.png', labels)
    flip = DiscSideFlip(str(tmp_path), wanted)
    shown = labels[:, ::-1] if side not in (None, wanted) else labels
    for _ in range(2):
        results = flip({
            'img': np.repeat(labels[..., None], 3, 2),
            'img_info': dict(stem='eye 1'),
            'layout': Layout((10, 20)),
            'seg_fields': ['labels.odoc'],
            'labels.odoc': labels
        })
        assert (results['labels.odoc'] == shown).all()
        assert (results['img'][..., 0] == shown).all()


def test_what_is_not_a_map_of_discs(tmp_path):
    """A map of lesions."""
    save_labels(tmp_path / 'eye.png', np.array([(1, 4)], np.uint8))
    results = dict(img_info=dict(stem='eye'), layout=Layout((1, 2)))
    with pytest.raises(ValueError, match='eye.png: '):
        DiscSideFlip(str(tmp_path))(results)
