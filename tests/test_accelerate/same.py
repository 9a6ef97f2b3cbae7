"""Whether two modules compute the same, outputs and gradients."""
import torch


def noisy(module):
    """Weights without zeros, so that every one of them matters."""
    torch.manual_seed(0)
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return module.double()


def outputs_and_gradients(function, module, inputs):
    """What a function of tensors gives, and all gradients of it."""
    inputs = [x.clone().requires_grad_() for x in inputs]
    out = function(inputs)
    out = list(out) if isinstance(out, (list, tuple)) else [out]
    torch.manual_seed(1)
    total = sum((torch.randn(x.shape, dtype=x.dtype) * x).sum() for x in out)
    leaves = inputs + list(module.parameters() if module else [])
    grads = torch.autograd.grad(total, leaves, allow_unused=True)
    return out, [g for g in grads if g is not None]


def assert_equal(found, expected):
    for ours, theirs in zip(found, expected):
        assert len(ours) == len(theirs)
        for a, b in zip(ours, theirs):
            assert torch.allclose(
                a, b, rtol=1e-9, atol=1e-10 * b.abs().max().item())
