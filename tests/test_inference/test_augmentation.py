"""Flips, scales and sliding windows of test sets: against doing it by hand."""
import json

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmcv.parallel import collate

from mbos.apis import (Environment, augment_test_sets, build_test_set,
                       load_config, load_segmentor)
from tests.tiny_runs import NORMALIZE

SLIDE = {'model.test_cfg': dict(mode='slide', crop_size=[48, 48],
                                stride=[24, 24])}  # yapf: disable


def predict(cfg, checkpoint):
    """Probabilities of the first image of c0, channels of all tasks."""
    dataset = build_test_set(cfg, 'c0')
    model = load_segmentor(cfg.model, checkpoint,
                           Environment(torch.device('cpu')))
    with torch.no_grad():
        prob, = model(return_loss=False, **collate([dataset[0]]))
    image = cv2.imread(dataset.image_path(0))
    return np.concatenate(list(prob.values())), image, model.module


def as_input(image, size):
    """Resize, make RGB and normalise, without mmcv."""
    image = cv2.resize(image, (size, size), interpolation=cv2.INTER_LINEAR)
    image = image[..., ::-1].astype(np.float32) - np.float32(NORMALIZE['mean'])
    return (image / np.float32(NORMALIZE['std'])).transpose(2, 0, 1)


def logits_of(model, image):
    """Logits at the size of the input, (1, C, H, W)."""
    batch = torch.from_numpy(np.ascontiguousarray(image))[None]
    with torch.no_grad():
        return model.encode_decode(batch, [{}])


def to_size(logits, size):
    """Resized logits as probabilities, (C, H, W)."""
    return F.interpolate(logits, size=size, mode='bilinear')[0].sigmoid()


@pytest.mark.parametrize('flips', [{}, dict(vertical=1, horizontal=2)])
def test_flips_and_scales_by_hand(runs, flips):
    ratios = [0.75, 1.5]
    cfg = load_config(
        runs.config2,
        dict(aug_test=dict(img_ratios=ratios, flip_direction=list(flips))))
    augment_test_sets(cfg)
    found, image, model = predict(cfg, runs.checkpoint2)
    expected = []
    for ratio in ratios:
        for axes in [(), *((axis, ) for axis in flips.values())]:
            own = np.flip(as_input(image, round(64 * ratio)), axes)
            prob = to_size(logits_of(model, own), image.shape[:2])
            expected.append(np.flip(prob.numpy(), axes))
    np.testing.assert_allclose(found, np.mean(expected, axis=0), atol=1e-6)


def test_sliding_windows_by_hand(runs):
    """Logits of overlapping windows are averaged, then resized."""
    found, image, model = predict(
        load_config(runs.config2, SLIDE), runs.checkpoint2)
    own = as_input(image, 64)
    total, count = 0, np.zeros((64, 64), np.float32)
    for top in (0, 16):
        for left in (0, 16):
            window = (slice(top, top + 48), slice(left, left + 48))
            part = logits_of(model, own[(slice(None), *window)])
            total = total + F.pad(part, (left, 16 - left, top, 16 - top))
            count[window] += 1
    expected = to_size(total / torch.from_numpy(count), image.shape[:2])
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_flag(runs, tool, tmp_path):
    figures = []
    for more in ((), ('--aug-test', )):
        assert tool('test.py', runs.config1, runs.checkpoint1, '--eval',
                    'mIoU', '--bootstrap', '0', '--no-report', '--work-dir',
                    'w', *more) is None
        path = tmp_path / 'w/eval_c0_test.json'
        figures.append(json.loads(path.read_text())['figures'])
    for key in ('vessel.AP.vessel', 'vessel.AUC.vessel'):
        assert figures[0][key] != figures[1][key]


@pytest.mark.parametrize('wrong, said', [
    (dict(aug_test=dict(scales=[1])), 'aug_test.*scales'),
    (dict(aug_test=dict(flip_direction=['diagonal'])), 'aug_test.*diagonal'),
    ({'data.test.pipeline': [dict(type='LoadImageFromFile')]},
     'no MultiScaleFlipAug'),
])  # yapf: disable
def test_wrong_options_of_augmentation(runs, wrong, said):
    cfg = load_config(runs.config1, wrong)
    with pytest.raises(ValueError, match=said):
        augment_test_sets(cfg)
