"""Flips, scales and sliding windows: against doing it by hand."""
import json

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmcv.parallel import collate

from mbos.apis import (Environment, augment_test_sets, build_test_set,
                       load_config, load_segmentor)
from mbos.inference.test_sets import augmented
from tests.processes import run_processes
from tests.test_evaluation.test_run import EvaluationPlan, evaluate_test_sets
from tests.tiny_runs import NORMALIZE, TEST

CPU = Environment(torch.device('cpu'))
SLIDE = {'model.test_cfg': dict(mode='slide', crop_size=[48, 48],
                                stride=[24, 24])}  # yapf: disable


def predict(cfg, checkpoint, augment=False):
    """Probabilities of the first image of c0, channels of all tasks."""
    if augment:
        augment_test_sets(cfg)
    dataset = build_test_set(cfg, 'c0')
    model = load_segmentor(cfg.model, checkpoint, CPU)
    with torch.no_grad():
        prob, = model(
            return_loss=False, **collate([dataset[0]], samples_per_gpu=1))
    image = cv2.imread(dataset.image_path(0))
    return np.concatenate(list(prob.values())), image, model.module


def as_input(image, size):
    """Resize, make RGB and normalise, without mmcv."""
    image = cv2.resize(image, (size, size), interpolation=cv2.INTER_LINEAR)
    image = image[..., ::-1].astype(np.float32)
    image = (image - np.float32(NORMALIZE['mean'])) / np.float32(
        NORMALIZE['std'])
    return image.transpose(2, 0, 1)


def logits_of(model, image):
    """Logits at the size of the input, (C, H, W)."""
    batch = torch.from_numpy(np.ascontiguousarray(image))[None]
    with torch.no_grad():
        return model.encode_decode(batch, [{}])


def to_size(logits, size):
    """Resized logits as probabilities, (C, H, W)."""
    resized = F.interpolate(
        logits, size=size, mode='bilinear', align_corners=False)
    return resized[0].sigmoid().numpy()


@pytest.mark.parametrize('flips',
                         [[], ['horizontal'], ['vertical', 'horizontal']])
def test_flips_and_scales_by_hand(runs, flips):
    ratios = [0.75, 1.5]
    cfg = load_config(
        runs.config2,
        dict(aug_test=dict(img_ratios=ratios, flip_direction=flips)))
    found, image, model = predict(cfg, runs.checkpoint2, augment=True)
    expected = []
    for ratio in ratios:
        for axis in [None
                     ] + [dict(horizontal=2, vertical=1)[f] for f in flips]:
            own = as_input(image, round(64 * ratio))
            if axis is not None:
                own = np.flip(own, axis)
            prob = to_size(logits_of(model, own), image.shape[:2])
            expected.append(prob if axis is None else np.flip(prob, axis))
    np.testing.assert_allclose(found, np.mean(expected, axis=0), atol=1e-6)
    plain, _, _ = predict(load_config(runs.config2), runs.checkpoint2)
    assert abs(found - plain).max() > 1e-4


def test_sliding_windows_by_hand(runs):
    """Logits of overlapping windows are averaged, then resized."""
    cfg = load_config(runs.config2, SLIDE)
    found, image, model = predict(cfg, runs.checkpoint2)
    own = as_input(image, 64)
    total, count = 0, np.zeros((64, 64), np.float32)
    for top in (0, 16):
        for left in (0, 16):
            window = (slice(top, top + 48), slice(left, left + 48))
            part = logits_of(model, own[(slice(None), ) + window])
            margins = (left, 16 - left, top, 16 - top)
            total = total + F.pad(part, margins)
            count[window] += 1
    expected = to_size(total / torch.from_numpy(count), image.shape[:2])
    np.testing.assert_allclose(found, expected, atol=1e-6)
    whole, _, _ = predict(load_config(runs.config2), runs.checkpoint2)
    assert abs(found - whole).max() > 1e-4


def test_figures_are_of_the_full_size(runs):
    """Whatever the size that the network sees, by default."""
    cfg = load_config(runs.config2)
    for scale in (32, 96):
        cfg.test_sets.c0.pipeline[1].img_scale = (scale, scale)
        prob, image, _ = predict(cfg, runs.checkpoint2)
        assert prob.shape[1:] == image.shape[:2] == (64, 64)


def test_both_in_several_processes(runs, tmp_path):
    """The real network, windows and flips: exactly what one process gives."""

    def evaluate(work, env):
        torch.set_num_threads(1)
        cfg = load_config(runs.config2, SLIDE)
        augment_test_sets(cfg)
        cfg.work_dir = str(tmp_path / work)
        sets = {name: build_test_set(cfg, name) for name in ('c0', 'c1')}
        model = load_segmentor(cfg.model, runs.checkpoint2, env)
        evaluate_test_sets(model, sets, cfg, env,
                           EvaluationPlan(runs.checkpoint2))

    threads = torch.get_num_threads()
    try:
        evaluate('one', CPU)
    finally:
        torch.set_num_threads(threads)
    (tmp_path / 'meet').mkdir()
    run_processes(
        lambda rank: evaluate('two', Environment(CPU.device, rank, 2)), 2,
        tmp_path / 'meet')
    for name in ('c0', 'c1'):
        one, two = (
            json.loads((tmp_path / work / f'eval_{name}.json').read_text())
            for work in ('one', 'two'))
        assert one == two and one['images'] == 2 + (name == 'c1')


def test_flag(runs, tool, tmp_path):
    arguments = ('test.py', runs.config1, runs.checkpoint1, '--eval', 'mIoU',
                 '--bootstrap', '0', '--no-report')
    figures = []
    for more in ((), ('--aug-test', ),
                 ('--cfg-options', 'model.test_cfg.mode=slide',
                  'model.test_cfg.crop_size=(48,48)',
                  'model.test_cfg.stride=(24,24)')):
        assert tool(*arguments, '--work-dir', 'w', *more) is None
        path = tmp_path / 'w/eval_c0_test.json'
        figures.append(json.loads(path.read_text())['figures'])
    keys = ['vessel.AP.vessel', 'vessel.AUC.vessel']
    assert len({tuple(f[k] for k in keys) for f in figures}) == 3


def test_augmentation_of_a_pipeline():
    given = json.dumps(TEST)
    step = augmented(TEST, [1, 2], ['vertical'])[1]
    assert step['img_ratios'] == [1.0, 2.0] and step['flip'] is True
    assert [t['type']
            for t in step['transforms']][:2] == ['Resize', 'RandomFlip']
    assert json.dumps(TEST) == given
    with pytest.raises(ValueError, match='one MultiScaleFlipAug'):
        augmented(TEST[:1], [1], [])


@pytest.mark.parametrize('wrong', [
    dict(scales=[1]),
    dict(flip_direction=['diagonal']),
    dict(img_ratios=[]),
])
def test_wrong_options_of_augmentation(runs, wrong):
    cfg = load_config(runs.config1, dict(aug_test=wrong))
    with pytest.raises(ValueError, match=f'aug_test.*{list(wrong)[0]}'):
        augment_test_sets(cfg)
