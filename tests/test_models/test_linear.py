"""Linear layers and feed-forwards by oneDNN compute what torch's do."""
import copy

import pytest
import torch
import torch.nn.functional as F
from mmcv.cnn.bricks.transformer import FFN
from torch import nn

from mbos.accelerate.gradients import gathering
from mbos.models import feed_forward as module
from mbos.models.feed_forward import feed_forward
from mbos.models.linear import LeanLinear, lean_linears

SHAPES = ((5, 6), (2, 7, 6), (1, 2, 3, 6), (0, 6))


def close(ours, exact):
    return torch.allclose(ours.double(), exact, rtol=1e-5, atol=1e-5)


def lean_and_exact(layer):
    """A layer of ours, and torch's in float64 with the same weights."""
    return lean_linears(nn.Sequential(layer))[0], copy.deepcopy(layer).double()


@pytest.mark.parametrize('shape', SHAPES)
@pytest.mark.parametrize('bias', [True, False])
@pytest.mark.parametrize('strided', [True, False])
def test_linear(shape, bias, strided):
    torch.manual_seed(0)
    lean, exact = lean_and_exact(nn.Linear(6, 4, bias=bias))
    assert type(lean) is LeanLinear
    x = torch.randn(*shape[:-1],
                    12)[..., ::2] if strided else torch.randn(shape)
    x = x.requires_grad_()
    x64 = x.detach().double().requires_grad_()
    out, expected = lean(x), exact(x64)
    assert out.shape == expected.shape and close(out, expected)
    grad = torch.randn(out.shape)
    out.backward(grad)
    expected.backward(grad.double())
    assert close(x.grad, x64.grad)
    for ours, theirs in zip(lean.parameters(), exact.parameters()):
        assert close(ours.grad, theirs.grad)


def test_gradients_add_up_alike():
    """Two passes and two uses in each; gathered or by autograd."""
    torch.manual_seed(0)
    lean, exact = lean_and_exact(nn.Linear(6, 6))
    twin = copy.deepcopy(lean)
    for x in torch.randn(2, 5, 6):
        exact(exact(x.double())).square().sum().backward()
        twin(twin(x)).square().sum().backward()
        with gathering():
            lean(lean(x)).square().sum().backward()
    for a, b, c in zip(lean.parameters(), twin.parameters(),
                       exact.parameters()):
        assert close(a.grad, c.grad) and close(b.grad, c.grad)


def test_only_what_is_asked_for():
    lean = LeanLinear(3, 2)
    lean.weight.requires_grad_(False)
    x = torch.ones(1, 3, requires_grad=True)
    lean(x).sum().backward()
    assert lean.weight.grad is None
    assert torch.equal(lean.bias.grad, torch.ones(2))
    assert torch.allclose(x.grad, lean.weight.sum(0))


def test_other_precisions_are_torchs():
    lean = LeanLinear(3, 2).double()
    x = torch.randn(4, 3, dtype=torch.float64)
    assert torch.equal(lean(x), F.linear(x, lean.weight, lean.bias))
    lean, x = lean.float(), x.float()
    with torch.autocast('cpu', torch.bfloat16):
        assert lean(x).dtype == torch.bfloat16


def test_layers_are_replaced_with_their_weights():
    net = nn.Sequential(nn.Linear(2, 3), nn.Sequential(nn.Linear(3, 1)))
    names, weights = list(net.state_dict()), list(net.parameters())
    state = torch.get_rng_state()
    assert lean_linears(net) is net
    assert torch.equal(state, torch.get_rng_state())
    assert list(net.state_dict()) == names
    assert all(a is b for a, b in zip(net.parameters(), weights))
    assert {type(m) for m in (net[0], net[1][0])} == {LeanLinear}


def feed_forwards():
    torch.manual_seed(0)
    norm, ffn = nn.LayerNorm(6), FFN(6, 24, act_cfg=dict(type='GELU'))
    for parameter in (*norm.parameters(), *ffn.parameters()):
        nn.init.normal_(parameter, std=0.5)
    exact = copy.deepcopy(norm).double(), copy.deepcopy(ffn).double()
    return (norm, lean_linears(ffn)), exact


@pytest.mark.parametrize('limit', [1, 3 * 24, 10**6])
@pytest.mark.parametrize('scale', [1.0, 1.25])
def test_feed_forward(limit, scale, monkeypatch):
    """In pieces of 1, 3 and all 10 tokens."""
    monkeypatch.setattr(module, 'KEPT_HIDDEN', limit)
    monkeypatch.setattr(module, 'CACHED_HIDDEN', limit)
    (norm, ffn), (norm64, ffn64) = feed_forwards()
    x = torch.randn(2, 5, 6, requires_grad=True)
    x64 = x.detach().double().requires_grad_()
    out = feed_forward(x, norm, ffn, scale)
    expected = x64 + scale * ffn64.layers(norm64(x64))
    assert close(out, expected)
    with torch.no_grad():
        assert close(feed_forward(x, norm, ffn, scale), expected)
    grad = torch.randn(out.shape)
    out.backward(grad)
    expected.backward(grad.double())
    assert close(x.grad, x64.grad)
    for ours, theirs in zip((*norm.parameters(), *ffn.parameters()),
                            (*norm64.parameters(), *ffn64.parameters())):
        assert close(ours.grad, theirs.grad)


def test_feed_forward_keeps_the_hidden_layer_once():
    (norm, ffn), _ = feed_forwards()
    kept = []

    def pack(x):
        if x.shape[-1] == 24 and x.shape[0] == 10:
            kept.append(x)
        return x

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        feed_forward(torch.randn(1, 10, 6), norm, ffn)
    assert len(kept) == 1


@pytest.mark.parametrize('change', [
    dict(act_cfg=dict(type='ReLU')),
    dict(num_fcs=3),
    dict(ffn_drop=0.5),
])
def test_other_feed_forwards_are_mmcvs(change):
    settings = dict(act_cfg=dict(type='GELU'))
    settings.update(change)
    ffn, norm = lean_linears(FFN(6, 24, **settings)), nn.LayerNorm(6)
    x = torch.randn(3, 6)
    torch.manual_seed(1)
    out = feed_forward(x, norm, ffn)
    torch.manual_seed(1)
    assert torch.equal(out, x + ffn.layers(norm(x)))
