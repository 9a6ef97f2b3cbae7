"""The Python interface of prediction, and flips and scales of test sets."""
import copy
import json
from itertools import product

import cv2
import mmcv
import numpy as np
import pytest
import torch
from mmseg.apis import inference_segmentor, init_segmentor
from PIL import Image

from mbos.apis import (augment_test_sets, build_test_set, load_config,
                       load_model, predict)
from mbos.checkpoints.loading import checkpoint_meta
from mbos.checkpoints.settings import PredictionSettings, settings_of
from mbos.inference.prediction import PredictionOptions
from mbos.inference.predictor import Predictor
from mbos.painter import draw_overlay
from mbos.tasks import ODOC
from tests.test_checkpoints.test_loading import assert_same, save_released
from tests.tiny_runs import NORMALIZE, TEST, draw_eye
from tests.utils import TASKS, tiny_model, tiny_model_cfg

SIZE = 96
SQUARE = (slice(10, 74), slice(20, 84))


def pipeline(size=SIZE, **normalize):
    """A test pipeline that scales into a square of ``size``."""
    load, step = copy.deepcopy(TEST)
    step['img_scale'] = (size, size)
    step['transforms'][1].update(normalize)
    return [load, step]


def photograph(height=84, width=100):
    """A bright disc of radius 32 on black, with its box."""
    image = np.zeros((height, width, 3), np.uint8)
    image[SQUARE] = draw_eye(TASKS, 3)[0]
    rows, columns = np.mgrid[:height, :width]
    image[np.hypot(rows - 42, columns - 52) > 31] = 0
    return image


def save_network(path, seed=0, stage2=False, **kwargs):
    """A network that answers something, in a checkpoint with its settings."""
    torch.manual_seed(seed)
    options = dict(window=8, adversarial=True) if stage2 else {}
    model = tiny_model(**options).eval()
    for head in model.decode_head.heads.values():
        torch.nn.init.normal_(head.conv_seg.weight)
    meta = checkpoint_meta(model,
                           tiny_model_cfg(**options).to_dict(),
                           PredictionSettings(pipeline(), **kwargs))
    torch.save(dict(state_dict=model.state_dict(), meta=meta), path)
    return model, str(path)


@pytest.fixture(params=['stage1', 'stage2'])
def network(request, tmp_path):
    """Function that gives a network of either stage, and it loaded from its
    checkpoint with some settings."""

    def make(**kwargs):
        model, path = save_network(tmp_path / 'a.pth', 0,
                                   request.param == 'stage2', **kwargs)
        return model, load_model(path, device='cpu')

    return make


def view_of(image, side, flip=False):
    """A network input, made without mmcv, and its meta information."""
    mean, std = (np.float32(NORMALIZE[key]) for key in ('mean', 'std'))
    view = (cv2.resize(image, (side, side)) - mean) / std
    view = view.transpose(2, 0, 1)[..., ::-1 if flip else 1]
    meta = dict(ori_shape=image.shape, flip=flip, flip_direction='horizontal')
    meta['img_shape'] = (side, side, 3)
    return torch.from_numpy(view.copy())[None], [meta]


def test_checkpoint_holds_everything(tmp_path, network):
    """Prepared by hand and run through the segmentor as in testing."""
    thresholds = dict(vessel=0.4, lesion=0.3, odoc=0.5)
    model, loaded = network(thresholds=thresholds)
    image = photograph()
    result = predict(loaded, image)
    x, y, width, height = result.field_of_view.box
    side = max(width, height)
    inside = (..., slice(y, y + height), slice(x, x + width))
    top, left = (side - height) // 2, (side - width) // 2
    padded = (..., slice(top, top + height), slice(left, left + width))
    square = np.zeros((3, side, side), np.uint8)
    square[padded] = image.transpose(2, 0, 1)[inside]
    view, meta = view_of(square.transpose(1, 2, 0), SIZE)
    with torch.no_grad():
        expected, = model.simple_test(view, meta)
    for name, task in model.tasks.items():
        whole = np.zeros((task.num_classes, *image.shape[:2]), np.float32)
        whole[inside] = expected[name][padded]
        prob = result.probabilities[name]
        assert prob.dtype == np.float32
        np.testing.assert_allclose(prob, whole, atol=1e-5)
        labels = task.decode(torch.from_numpy(prob), thresholds[name]).numpy()
        np.testing.assert_array_equal(result.labels[name], labels)
        assert result.labels[name].dtype == np.uint8
    # a list of a path, without probabilities
    Image.fromarray(image).save(tmp_path / 'eye.png')
    alone, = predict(loaded, [tmp_path / 'eye.png'], probabilities=False)
    np.testing.assert_array_equal(alone.labels['odoc'], result.labels['odoc'])
    assert alone.probabilities == {}


@pytest.mark.parametrize(
    'options, views', [(dict(scales=(0.75, 1), flip=True), [(72, 0), (72, 1),
                                                            (96, 0), (96, 1)]),
                       (dict(mode='slide', window=64, stride=32), [(96, 0)])])
def test_augmentation_equals_mmseg(network, options, views):
    """Against the segmentor's own aug_test and slide inference."""
    model, loaded = network(crop='none')
    image = draw_eye(TASKS, 3, size=80)[0]
    result = predict(loaded, image, **options)
    if 'mode' in options:
        model.test_cfg = mmcv.ConfigDict(
            mode='slide', crop_size=(64, 64), stride=(32, 32))
    with torch.no_grad():
        expected, = model.aug_test(*zip(*(view_of(image, *v) for v in views)))
    for name in TASKS:
        np.testing.assert_allclose(
            result.probabilities[name], expected[name], atol=1e-5)


class Oracle(torch.nn.Module):
    """Reads the label off the red channel: 50 more for each class."""

    align_corners = False
    tasks = dict(odoc=ODOC)
    test_cfg = dict(mode='whole')

    def __init__(self, side=64):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.settings = PredictionSettings(
            pipeline(side, mean=[0.] * 3, std=[1.] * 3))

    def view_logits(self, batch, metas, test_cfg):
        values = torch.tensor([100., 150.]).view(1, 2, 1, 1)
        return (batch[:, :1] > values - 25).float() * 20 - 10

    def split(self, channels):
        return dict(odoc=channels)


@pytest.mark.parametrize('size, row, column', [((301, 400), 140, 211),
                                               ((260, 333), 131, 90),
                                               ((300, 200), 150, 97)])
def test_labels_survive_the_way_there_and_back(size, row, column):
    """A crop at borders, odd sizes and odd paddings, exactly."""
    rows, columns = np.mgrid[:size[0], :size[1]]
    far = np.hypot(rows - row, columns - column)
    labels = np.zeros(size, np.uint8)
    labels[row - 60:row + 61, column - 50:column + 40] = 1
    labels[row - 15:row + 20, column - 9:column - 3] = 2
    labels[row - 30, column - 40:column + 30] = 0  # a line of one pixel
    labels[far > 120] = 0
    image = np.full((*size, 3), 50, np.uint8)
    image[..., 0] = 50 + 50 * labels
    image[far > 124] = 0
    box = predict(Oracle(), image).field_of_view.box
    assert box[2] < size[1] or box[3] < size[0], 'something is cropped'
    result = predict(Oracle(max(box[2:])), image)
    np.testing.assert_array_equal(result.labels['odoc'], labels)
    # scaled on the way: no shift
    scaled = predict(Oracle(2 * max(box[2:])), image).labels['odoc']
    assert np.mean(scaled != labels) < 0.01
    for value in (1, 2):
        before, after = (
            np.argwhere(plane == value) for plane in (labels, scaled))
        assert np.abs(before.mean(0) - after.mean(0)).max() < 0.3


def test_release_has_the_published_settings(tmp_path, caplog, network):
    """The authors' files hold neither: network and preprocessing by stage."""
    model, _ = network()
    known = torch.load(tmp_path / 'a.pth')['meta']
    path = save_released(
        tmp_path / 'b.pth', model, meta=dict(mbos_model=known['mbos_model']))
    with caplog.at_level('INFO'):
        loaded = load_model(path, device='cpu')
    assert model.stage == loaded.stage
    assert loaded.settings.image_scale == (1024, 1024)
    assert loaded.settings.normalization['mean'] == [95.523, 57.776, 25.422]
    assert 'published config of stage' in caplog.text
    assert_same(loaded, model)


@pytest.mark.parametrize('stage', '12')
def test_mmseg_functions(tmp_path, runs, stage):
    """init_segmentor, inference_segmentor and show_result of mmseg itself."""
    config = getattr(runs, f'config{stage}')
    path = getattr(runs, f'checkpoint{stage}')
    file, image = str(tmp_path / 'eye.png'), draw_eye(TASKS, 3)[0]
    Image.fromarray(image).save(file)
    theirs = init_segmentor(config, path, device='cpu')
    assert theirs.CLASSES[0] == 'vessel.vessel' and len(theirs.PALETTE) == 5
    ours = load_model(path, device='cpu')
    assert ours.settings.steps() == settings_of(load_config(config)).steps()
    mine = predict(ours, image, crop='none')
    result = inference_segmentor(theirs, file)
    for found in (result, inference_segmentor(ours, file),
                  inference_segmentor(theirs, image[..., ::-1].copy())):
        for name in ours.tasks:
            np.testing.assert_allclose(
                found[0][name], mine.probabilities[name], atol=1e-5)
    out = str(tmp_path / 'out.png')
    picture = theirs.show_result(file, result, out_file=out)
    expected = draw_overlay(image, mine.labels, list(ours.tasks.values()), 0.5)
    np.testing.assert_array_equal(picture[..., ::-1], expected)
    np.testing.assert_array_equal(mmcv.imread(out), picture)
    assert (picture[..., ::-1] != image).any()


@pytest.mark.parametrize('image, options, said', [
    (np.zeros((8, 8), np.uint8), {}, 'shape'),
    (np.zeros((8, 8, 3), np.float32), {}, 'float32'),
    (7, {}, 'path or an RGB'),
    (photograph(), dict(mode='tiles'), 'tiles'),
    (photograph(), dict(scales=(0, )), 'scales'),
    (photograph(), dict(threshold=1.0), 'threshold'),
    (photograph(), dict(threshold=dict(fovea=0.5)), "task 'fovea'"),
    (photograph(), dict(threshold=dict(odoc=dict(rim=0.5))), "class 'rim'"),
    (photograph(), dict(mode='slide', window=32, stride=64), 'stride'),
])
def test_what_is_refused(image, options, said):
    with pytest.raises(ValueError, match=said):
        predict(Oracle(), [image], **options)


def test_black_and_tiny_photographs():
    for height, width in (1, 1), (3, 70), (64, 64):
        result = predict(Oracle(), np.zeros((height, width, 3), np.uint8))
        assert result.labels['odoc'].shape == (height, width)


def test_threads_divide_the_cores(monkeypatch):
    predictor, given = Predictor(Oracle(), PredictionOptions()), []
    monkeypatch.setattr(torch, 'get_num_threads', lambda: 4)
    monkeypatch.setattr(torch, 'set_num_threads', given.append)
    monkeypatch.setenv('OMP_NUM_THREADS', '4')
    predictor.share_processor(2)
    monkeypatch.delenv('OMP_NUM_THREADS')
    predictor.share_processor(2)
    assert given == [2]


def test_flips_and_scales_of_test_sets(runs, tool, tmp_path):
    found = []
    for more in ((), ('--aug-test', )):
        assert tool('test.py', runs.config1, runs.checkpoint1, '--eval',
                    'mIoU', '--bootstrap', '0', '--no-report', '--work-dir',
                    'w', *more) is None
        content = json.loads((tmp_path / 'w/eval_c0_test.json').read_text())
        found.append(content['figures']['vessel.AP.vessel'])
    assert found[0] != found[1]
    cfg = load_config(runs.config1)
    augment_test_sets(cfg)
    metas = [m.data for m in build_test_set(cfg, 'c0')[0]['img_metas']]
    views = [(m['img_shape'][0], m['flip'] and m['flip_direction'])
             for m in metas]  # yapf: disable
    flips = False, 'horizontal', 'vertical'
    assert set(views) == set(product((48, 64, 80), flips))
    cfg.data.test.pipeline = [dict(type='LoadImageFromFile')]
    with pytest.raises(ValueError, match='no MultiScaleFlipAug'):
        augment_test_sets(cfg)
