"""Decoders that convolve coarse maps before they enlarge them."""
import copy

import pytest
import torch
import torch.nn.functional as F
from mmseg.models import build_head

from mbos.accelerate import accelerate
from mbos.accelerate.decoder import (LateEnlargingUPerHead,
                                     add_enlarged_convolution,
                                     enlarged_convolution,
                                     worth_enlarging_in_bands)
from mbos.accelerate.prediction import prepare_for_prediction
from tests.test_accelerate.same import (assert_equal, noisy,
                                        outputs_and_gradients)

CHANNELS = [12, 24, 48, 96]


@pytest.mark.parametrize('align_corners', [False, True])
@pytest.mark.parametrize('size', [(70, 96), (33, 31)])
@pytest.mark.parametrize('kernel', [1, 3, 5])
def test_enlarged_convolution(align_corners, size, kernel):
    x = torch.randn(2, 3, 12, 11, dtype=torch.float64)
    weight = torch.randn(4, 3, kernel, kernel, dtype=torch.float64)
    total = torch.randn(2, 4, *size, dtype=torch.float64)

    def plain(inputs):
        x = F.interpolate(
            inputs[0], size, mode='bilinear', align_corners=align_corners)
        return F.conv2d(x, inputs[1], padding=kernel // 2)

    def ours(inputs):
        return enlarged_convolution(*inputs, size, align_corners)

    expected = outputs_and_gradients(plain, None, [x, weight])
    assert_equal(outputs_and_gradients(ours, None, [x, weight]), expected)
    found = total.contiguous(memory_format=torch.channels_last)
    add_enlarged_convolution(found, x, weight, align_corners)
    torch.testing.assert_close(found, total + expected[0][0].detach())


def test_when_bands_are_worth_it():
    weight, total = torch.empty(32, 32, 3, 3), torch.empty(1, 32, 576, 576)
    assert not worth_enlarging_in_bands(weight, (144, 144), total), 'gradients'
    with torch.no_grad():
        worth = {
            side: worth_enlarging_in_bands(weight, (side, side), total)
            for side in (576, 288, 144, 72, 36, 6)
        }
        weight, total = torch.empty(512, 512, 3, 3), total[..., :128, :128]
        assert not worth_enlarging_in_bands(weight, (32, 32), total)
    assert [side for side, is_worth in worth.items()
            if is_worth] == [144, 72, 36]


def decoder(norm_cfg, align_corners):
    return noisy(
        build_head(
            dict(
                type='UPerHead',
                in_channels=CHANNELS,
                in_index=[0, 1, 2, 3],
                channels=16,
                num_classes=2,
                norm_cfg=norm_cfg,
                align_corners=align_corners)))


@pytest.mark.parametrize('norm_cfg', [dict(type='GN', num_groups=1), None])
@pytest.mark.parametrize('align_corners', [False, True])
@pytest.mark.parametrize('size', [(32, 48), (25, 17)])
def test_decoder(norm_cfg, align_corners, size):
    theirs = decoder(norm_cfg, align_corners)
    ours = accelerate(copy.deepcopy(theirs), ['decoder'])
    assert type(ours) is LateEnlargingUPerHead
    maps = [
        torch.randn(
            2, c, *(-(-side // 2**i) for side in size), dtype=torch.float64)
        for i, c in enumerate(CHANNELS)
    ]
    expected = outputs_and_gradients(theirs._forward_feature, theirs, maps)
    assert_equal(
        outputs_and_gradients(ours._forward_feature, ours, maps), expected)


@torch.no_grad()
def test_decoder_that_predicts():
    """Of a size at which bands are worth it."""
    theirs = decoder(dict(type='GN', num_groups=1), False).eval()
    ours = accelerate(copy.deepcopy(theirs), ['decoder'])
    prepare_for_prediction(ours)
    maps = [
        torch.randn(1, c, 320 // 2**i, 256 // 2**i, dtype=torch.float64)
        for i, c in enumerate(CHANNELS)
    ]
    torch.testing.assert_close(
        ours._forward_feature(maps), theirs._forward_feature(maps))
