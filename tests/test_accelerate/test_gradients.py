"""Gradients added up where they will be read."""
import torch
from torch import nn

from mbos.accelerate.gradients import (add_gradient, gathering, is_gathering,
                                       weight_gradient)

GRAD = torch.tensor([[1., 2.], [0., 1.]])
X = torch.tensor([[1., 0., 2.], [3., 1., 0.]])
PRODUCT = torch.tensor([[1., 0., 2.], [5., 1., 4.]])  # by hand


def test_gradient_is_added_only_where_it_is_wanted():
    weight = nn.Parameter(torch.zeros(2, 3))
    assert torch.equal(weight_gradient(weight, GRAD, X), PRODUCT)
    assert weight.grad is None
    with gathering():
        assert weight_gradient(weight, GRAD, X) is None
        there = weight.grad
        assert torch.equal(there, PRODUCT)
        assert weight_gradient(weight, GRAD, X) is None
    assert weight.grad is there and torch.equal(there, 2 * PRODUCT)
    assert torch.equal(weight_gradient(weight, GRAD, X), PRODUCT)
    assert torch.equal(there, 2 * PRODUCT)


def test_other_than_leaves_have_no_place_for_it():
    weight = nn.Parameter(torch.zeros(2, 3)) * 2
    with gathering():
        assert torch.equal(weight_gradient(weight, GRAD, X), PRODUCT)


def test_gathering_ends_with_an_error_and_may_be_nested():
    try:
        with gathering():
            with gathering(False):
                assert not is_gathering()
            assert is_gathering()
            raise KeyError
    except KeyError:
        pass
    assert not is_gathering()


def test_gradients_lie_as_their_weights():
    weight = nn.Parameter(torch.zeros(2, 3))
    add_gradient(weight, PRODUCT.T.contiguous().T)
    assert weight.grad.is_contiguous() and torch.equal(weight.grad, PRODUCT)
    there = weight.grad
    add_gradient(weight, torch.ones(2, 3))
    assert weight.grad is there and torch.equal(there, PRODUCT + 1)
