"""Why float32 runs are compared on the sides of their float64 twins."""
import copy

import pytest
import torch
from torch import nn

from mbos.models.patch_discriminator import PatchDiscriminator
from .sides import Sides


def first_gradient(net, prob):
    net.zero_grad()
    net(prob).sum().backward()
    return net.convs[0].weight.grad.clone()


def test_gradients_jump_at_a_kink():
    """A bias changed by 2e-9 changes the first layer's gradient by per cents.

    No precision of the comparison can be asked for across such a kink; on the
    same side the gradient hardly moves.
    """
    torch.manual_seed(0)
    net = PatchDiscriminator(2, channels=4).double()
    prob = torch.rand(1, 2, 64, 64, dtype=torch.float64)
    x = prob
    for conv in net.convs[:3]:
        x = net.act(conv(x))
    before = net.convs[3](x)
    # put one input of the last LeakyReLU on 0
    unit, row, column = 5, 1, 2
    with torch.no_grad():
        net.convs[3].bias[unit] -= before[0, unit, row, column]
    below, above = copy.deepcopy(net), copy.deepcopy(net)
    with torch.no_grad():
        below.convs[3].bias[unit] -= 1e-9
        above.convs[3].bias[unit] += 1e-9
    sides = Sides()
    imposed = copy.deepcopy(above)
    reference = copy.deepcopy(below)
    sides.note(reference)
    gradient = first_gradient(reference, prob)
    assert torch.equal(gradient, first_gradient(below, prob))
    jump = (first_gradient(above, prob) - gradient).norm() / gradient.norm()
    assert jump > 1e-2

    sides.impose(imposed)
    moved = (first_gradient(imposed, prob) - gradient).norm()
    assert moved < 1e-7 * gradient.norm()
    assert sides.moved == 1 and sides.largest < 1e-8
    assert sides.total == 4 * 32**2 + 8 * 16**2 + 16 * 8**2 + 32 * 4**2


def test_imposed_sides_by_hand():
    sides = Sides()
    first = nn.Sequential(nn.LeakyReLU(0.2), nn.Sequential(nn.ReLU()))
    second = copy.deepcopy(first)
    sides.note(first)
    sides.impose(second)
    assert first(torch.tensor([2.0, -1.0])).tolist() == [2.0, 0.0]
    x = torch.tensor([-0.5, -10.0], requires_grad=True)
    y = second(x)
    # the first is taken as positive by both, though it is not
    assert y.tolist() == [-0.5, 0.0]
    y.sum().backward()
    assert x.grad.tolist() == [1.0, 0.0]
    assert (sides.moved, sides.total) == (2, 4)
    assert sides.largest == pytest.approx(0.5 / 2)
