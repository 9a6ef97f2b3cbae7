"""Gradients added up where they will be read."""
import torch
from torch import nn

from mbos.core.gradients import gathering, weight_gradient

GRAD = torch.tensor([[1., 2.], [0., 1.]])
X = torch.tensor([[1., 0., 2.], [3., 1., 0.]])
PRODUCT = torch.tensor([[1., 0., 2.], [5., 1., 4.]])  # by hand


def test_gradient_is_added_only_where_it_is_wanted():
    weight = nn.Parameter(torch.zeros(2, 3))
    assert torch.equal(weight_gradient(weight, GRAD, X), PRODUCT)
    with gathering():
        assert torch.equal(weight_gradient(weight, GRAD, X), PRODUCT)
        weight.grad = there = torch.ones(2, 3)
        assert weight_gradient(weight, GRAD, X) is None
    assert weight.grad is there and torch.equal(there, PRODUCT + 1)
    assert torch.equal(weight_gradient(weight, GRAD, X), PRODUCT)
    assert torch.equal(there, PRODUCT + 1)


def test_gathering_ends_with_an_error():
    weight = nn.Parameter(torch.zeros(2, 3))
    weight.grad = torch.ones(2, 3)
    try:
        with gathering():
            raise KeyError
    except KeyError:
        pass
    assert weight_gradient(weight, GRAD, X) is not None
