"""LoadRandomCrop against the four transforms that it stands for."""
import cv2
import numpy as np
import pytest
from PIL import Image

from mbos.datasets import PartialLabelDataset
from mbos.datasets.as_released import plain_loading
from mbos.datasets.pipelines.loading import Region
from mbos.io.labels import save_labels
from mbos.io.photographs import EncodedPhotograph

FAST = dict(type='LoadRandomCrop', img_scale=(200, 200),
            ratio_range=(0.5, 2.0), crop_size=(90, 110))  # yapf: disable
SIDES = {'square': (640, 640), 'wide': (500, 730), 'tall': (615, 301)}


def smooth(shape, seed):
    """A photograph without edges, where scaling leaves little to choose."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), np.uint8)
    return cv2.resize(coarse, shape[::-1], interpolation=cv2.INTER_CUBIC)


@pytest.fixture(scope='module')
def drawn(tmp_path_factory):
    """Three photographs with two planes each."""
    root = tmp_path_factory.mktemp('drawn')
    (root / 'images').mkdir()
    for seed, (name, shape) in enumerate(SIDES.items()):
        Image.fromarray(smooth(shape, seed)).save(
            root / f'images/{name}.jpg', quality=95, subsampling=0)
        labels = np.random.default_rng(seed).integers(0, 5, shape, np.uint8)
        save_labels(str(root / f'lesion/{name}.png'), labels)
        save_labels(str(root / f'vessel/{name}.png'), labels % 2)
    return root


def dataset(folder, *pipeline):
    return PartialLabelDataset(
        name='ddr',
        tasks=['vessel', 'lesion', 'odoc'],
        data_root=str(folder),
        img_dir='images',
        ann_dirs=dict(lesion='lesion', vessel='vessel'),
        pipeline=pipeline)


def results_of(data, seed):
    """Results of all images, and the random number that follows."""
    found = []
    for i in range(len(data)):
        np.random.seed(seed)
        found.append((data.prepare_train_img(i), np.random.rand()))
    return found


def assert_same_crops(folder, step, grey, seeds=range(6)):
    plain = dataset(folder, *plain_loading([step]))
    fast = dataset(folder, step)
    for seed in seeds:
        pairs = zip(results_of(plain, seed), results_of(fast, seed))
        for (expected, after), (found, after_fast) in pairs:
            assert after == after_fast
            assert found['seg_fields'] == expected['seg_fields']
            for key in found['seg_fields']:
                assert (found[key] == expected[key]).all()
            assert found['img'].dtype == np.uint8
            difference = np.abs(expected['img'].astype(int) - found['img'])
            assert difference.max() <= grey and difference.mean() < 1
            for key in ('filename', 'ori_shape', 'img_shape', 'scale'):
                assert found[key] == expected[key], key
            assert set(expected) - {'keep_ratio'} <= set(found)


@pytest.mark.parametrize('changes', [
    dict(keep_ratio=False),
    dict(ratio_range=None, img_scale=(300, 150)),
    dict(img_scale=(1000, 900), crop_size=(300, 200)),
    dict(crop_size=(1000, 1000)),
])
def test_same_as_the_four_transforms(drawn, changes):
    step = FAST | dict(reduced_decoding=False) | changes
    assert_same_crops(drawn, step, grey=1)


def test_reduced_decoding_of_a_smooth_photograph(drawn, monkeypatch):
    """All factors are met; JPEG itself errs by a few grey values."""
    factors = set()
    read = EncodedPhotograph.read

    def spy(self, factor=1, **order):
        factors.add(factor)
        return read(self, factor, **order)

    monkeypatch.setattr(EncodedPhotograph, 'read', spy)
    step = dict(FAST, ratio_range=(0.3, 2.0), crop_size=(60, 60))
    assert_same_crops(drawn, step, grey=6, seeds=range(12))
    assert factors == {1, 2, 4, 8}


@pytest.mark.parametrize('size', [(97, 61), (80, 55), (250, 430)])
def test_region_of_noise(size):
    """On noise a shift by a hundredth of a pixel shows."""
    image = np.random.default_rng(0).integers(0, 256, (97, 61, 3), np.uint8)
    whole = cv2.resize(image, size[::-1], interpolation=cv2.INTER_LINEAR)
    for top, left in ((0, 0), (size[0] - 50, size[1] - 40), (9, 13)):
        region = Region((97, 61), size, (top, top + 50, left, left + 40))
        expected = whole[top:top + 50, left:left + 40].astype(int)
        difference = np.abs(region.sample_image(image) - expected)
        assert difference.max() <= 1 and difference.mean() < 0.2


def test_every_scale_takes_the_labels_that_opencv_takes():
    for source in (61, 512, 565, 1024, 2124, 3416):
        ramp = np.arange(source, dtype=np.uint16)[None].repeat(2, 0)
        for size in range(30, 2100, 37):
            expected = cv2.resize(
                ramp, (size, 2), interpolation=cv2.INTER_NEAREST)
            region = Region((2, source), (2, size), (0, 2, 0, size))
            assert (region.sample_labels(ramp) == expected).all()


def spotted(tmp_path, spots):
    """A photograph of 400x600 with labelled rectangles on background."""
    plane = np.zeros((400, 600), np.uint8)
    for value, rows, columns in spots:
        plane[slice(*rows), slice(*columns)] = value
    (tmp_path / 'images').mkdir()
    Image.fromarray(smooth(plane.shape, 0)).save(tmp_path / 'images/eye.jpg')
    for task, labels in dict(lesion=plane, vessel=0 * plane).items():
        save_labels(str(tmp_path / task / 'eye.png'), labels)
    return tmp_path


def crops(folder, count, **look_for):
    """Lesion planes of crops of the image at its own size."""
    step = FAST | dict(img_scale=(600, 400), ratio_range=None,
                       crop_size=(50, 80), look_for=look_for)  # yapf: disable
    data = dataset(folder, step)
    return [results_of(data, s)[0][0]['labels.lesion'] for s in range(count)]


def test_crops_that_look_for_a_class(tmp_path):
    """A speck is met as often as a class of 6000 pixels; 255 is no class."""
    folder = spotted(tmp_path, [(1, (300, 360), (50, 150)),
                                (4, (20, 21), (590, 591)),
                                (255, (100, 200), (300, 500))])
    found = crops(folder, 120, lesion=1.0)
    assert {crop.shape for crop in found} == {(50, 80)}
    large = sum((crop == 1).any() for crop in found)
    speck = sum((crop == 4).any() for crop in found)
    assert large + speck == 120
    assert abs(speck - 60) < 25
    places = {np.unravel_index((c == 4).argmax(), c.shape)
              for c in found if (c == 4).any()}  # yapf: disable
    assert len(places) > 35  # anywhere in the crop, not in its middle


def test_share_of_crops_that_look_for_a_task(tmp_path):
    """By chance, a crop of 50x80 holds a corner speck in few of 351x521."""
    folder = spotted(tmp_path, [(2, (0, 1), (0, 1))])
    found = crops(folder, 100, lesion=0.3)
    assert abs(sum((crop == 2).any() for crop in found) - 30) < 15
    # nothing to find: no task of this name here, or an empty plane
    for probs in (dict(odoc=1.0), dict(vessel=1.0), {}):
        assert not any((c > 0).any() for c in crops(folder, 30, **probs))
