"""Losses against numbers worked out by hand."""
import math

import pytest
import torch

from mbos.models.losses import BinaryLoss, adversarial_loss
from mbos.tasks import BUILTIN_TASKS, Task

VESSEL, ODOC = BUILTIN_TASKS['vessel'], BUILTIN_TASKS['odoc']


def logit(*probabilities):
    """Logits of one image, one channel, one row."""
    return torch.logit(torch.tensor([[[probabilities]]]))


def plane(*labels):
    return torch.tensor([[labels]], dtype=torch.uint8)


@pytest.mark.parametrize(
    'smooth, ignore_index, labels, expected',
    [
        # sums p y = 0.8, p^2 + y^2 = 0.64 + 0.04 + 0.25 + 1
        (1.0, 255, (1, 0, 0), 1 - (1.6 + 1) / (1.93 + 1)),
        # the last pixel is left out of all three sums
        (1.0, 255, (1, 0, 255), 1 - (1.6 + 1) / (1.68 + 1)),
        # as published: it is background
        (1.0, None, (1, 0, 255), 1 - (1.6 + 1) / (1.93 + 1)),
        # nothing to find: 1 - smooth / (sum p^2 + smooth)
        (0.5, 255, (0, 0, 255), 1 - 0.5 / (0.68 + 0.5)),
        # no valid pixel
        (1.0, 255, (255, 255, 255), 0.0),
    ])
def test_dice_by_hand(smooth, ignore_index, labels, expected):
    loss = BinaryLoss(smooth=smooth, ignore_index=ignore_index)
    value = loss(logit(0.8, 0.2, 0.5), plane(*labels), VESSEL)
    assert value.tolist() == pytest.approx([expected], abs=1e-6)


def test_cross_entropy_by_hand():
    loss = BinaryLoss(mode='ce', loss_weight=0.5)
    value = loss(logit(0.8, 0.2, 0.5), plane(1, 0, 255), VESSEL)
    assert value.item() == pytest.approx(-0.5 * math.log(0.8), rel=1e-5)


def test_nested_classes_by_hand():
    """Disc is label > 0, cup label == 2: the mean of both channels."""
    prob = torch.tensor([[[[0.9, 0.6]], [[0.1, 0.7]]]])
    value = BinaryLoss(smooth=1.0)(torch.logit(prob), plane(1, 2), ODOC)
    disc = 1 - (2 * 1.5 + 1) / (0.81 + 0.36 + 2 + 1)
    cup = 1 - (2 * 0.7 + 1) / (0.01 + 0.49 + 1 + 1)
    assert value.item() == pytest.approx((disc + cup) / 2, rel=1e-5)


DISC = torch.tensor([[True, False]])


@pytest.mark.parametrize(
    'labels, disc, cup',
    [
        # the cup is known outside the disc only, where there is none
        ((1, 0), (2 * .9 + 1) / (.81 + .36 + 1 + 1), 1 / (.49 + 1)),
        # no disc, no cup
        ((0, 0), 1 / (.81 + .36 + 1), 1 / (.01 + .49 + 1)),
        ((0, 255), 1 / (.81 + 1), 1 / (.01 + 1)),
        # all within the disc: nothing is known of the cup
        ((1, 1), (2 * 1.5 + 1) / (.81 + .36 + 2 + 1), None),
        ((255, 255), None, None),
    ])
def test_dice_of_discs_without_cups_by_hand(labels, disc, cup):
    """The mean over the channels with a valid pixel."""
    prob = torch.tensor([[[[0.9, 0.6]], [[0.1, 0.7]]]])
    loss = BinaryLoss(smooth=1.0)
    value = loss(torch.logit(prob), plane(*labels), ODOC, DISC)
    known = [1 - dice for dice in (disc, cup) if dice is not None]
    expected = sum(known) / max(len(known), 1)
    assert value.tolist() == pytest.approx([expected], abs=1e-6)
    assert loss.counts(plane(*labels)).item() == bool(known)


def test_cross_entropy_of_one_lesion_by_hand():
    """Each channel is a mean over its own valid pixels."""
    task = Task('spot', ('a', 'b'))
    prob = torch.tensor([[[[0.8, 0.4, 0.5]], [[0.1, 0.7, 0.3]]]])
    known = torch.tensor([[True, False]])
    loss = BinaryLoss(mode='ce')
    value = loss(torch.logit(prob), plane(1, 0, 0), task, known)
    first = -(math.log(.8) + math.log(.6) + math.log(.5)) / 3
    assert value.item() == pytest.approx((first - math.log(.9)) / 2, rel=1e-5)
    # b is known nowhere
    value = loss(torch.logit(prob), plane(0, 0, 255), task, known)
    first = -(math.log(.2) + math.log(.6)) / 2
    assert value.item() == pytest.approx(first, rel=1e-5)


def test_adversarial_loss_by_hand():
    logits = torch.tensor([[[[0.0, math.log(3)]]], [[[0.0, 0.0]]]])
    # sigmoid(log 3) = 3/4
    half = math.log(2)
    source = adversarial_loss(logits, True).tolist()
    target = adversarial_loss(logits, False).tolist()
    assert source == pytest.approx([(half + math.log(4 / 3)) / 2, half])
    assert target == pytest.approx([(half + math.log(4)) / 2, half])
