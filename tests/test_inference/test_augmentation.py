"""Flips and scales of test sets: against doing it by hand."""
import json

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from mbos.apis import (Environment, augment_test_sets, build_test_set,
                       load_config, load_segmentor)
from mbos.inference.test_sets import predict_image
from tests.tiny_runs import NORMALIZE


def as_input(image, size):
    """Resize, make RGB and normalise, without mmcv."""
    image = cv2.resize(image, (size, size), interpolation=cv2.INTER_LINEAR)
    image = image[..., ::-1].astype(np.float32) - np.float32(NORMALIZE['mean'])
    return (image / np.float32(NORMALIZE['std'])).transpose(2, 0, 1)


@torch.no_grad()
def test_flips_and_scales_by_hand(runs):
    cfg = load_config(runs.config2)
    augment_test_sets(cfg)
    env, dataset = Environment(torch.device('cpu')), build_test_set(cfg, 'c0')
    model = load_segmentor(cfg.model, runs.checkpoint2, env)
    found = predict_image(model, dataset, 0)
    image, expected = cv2.imread(dataset.image_path(0)), []
    for ratio in (0.75, 1, 1.25):
        for axes in ((), (1, ), (2, )):
            view = np.flip(as_input(image, round(64 * ratio)), axes)
            logits = model.module.encode_decode(
                torch.from_numpy(view.copy())[None], [{}])
            prob = F.interpolate(logits, image.shape[:2], mode='bilinear')
            expected.append(np.flip(prob[0].sigmoid().numpy(), axes))
    np.testing.assert_allclose(
        np.concatenate(list(found.values())),
        np.mean(expected, axis=0),
        atol=1e-6)


def test_flag(runs, tool, tmp_path):
    found = []
    for more in ((), ('--aug-test', )):
        assert tool('test.py', runs.config1, runs.checkpoint1, '--eval',
                    'mIoU', '--bootstrap', '0', '--no-report', '--work-dir',
                    'w', *more) is None
        content = json.loads((tmp_path / 'w/eval_c0_test.json').read_text())
        found.append(content['figures']['vessel.AP.vessel'])
    assert found[0] != found[1]


def test_pipeline_without_augmentation(runs):
    cfg = load_config(runs.config1)
    cfg.data.test.pipeline = [dict(type='LoadImageFromFile')]
    with pytest.raises(ValueError, match='no MultiScaleFlipAug'):
        augment_test_sets(cfg)
