"""Memory of a step, and what it reads from the device."""
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from tests.test_models.test_segmentors import (FOUR, assert_same, join,
                                               network, run, samples)

BOTH = pytest.mark.parametrize('adversarial', [False, True])


def twin(model, adversarial, **train_cfg):
    """The same weights in a network with another ``train_cfg``."""
    other = network(FOUR[:3], adversarial, train_cfg=train_cfg)
    other.load_state_dict(model.state_dict())
    return other


@BOTH
def test_low_memory_changes_no_result(adversarial):
    """Dropout included."""
    model = network(FOUR[:3], adversarial)
    results = []
    for net in (model, twin(model, adversarial, low_memory=True)):
        for module in net.modules():
            if isinstance(module, torch.nn.Dropout2d):
                module.p = 0.5
        torch.manual_seed(1)
        results.append(run(net, samples(FOUR[:3], adversarial)))
    assert_same(*results)


def kept_bytes(model, batch):
    """What autograd keeps of a forward pass, weights left out."""
    kept, weights = {}, {p.data_ptr() for p in model.parameters()}

    def pack(x):
        if x.data_ptr() not in weights:
            kept[x.data_ptr()] = x.untyped_storage().nbytes()
        return x

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        losses = model(**join(batch))
    assert losses
    return sum(kept.values())


@BOTH
def test_low_memory_keeps_less(adversarial):
    model = network(FOUR[:3], adversarial)
    batch = samples(FOUR[:3], adversarial)[:1]
    low = twin(model, adversarial, low_memory=True)
    assert kept_bytes(low, batch) < 0.6 * kept_bytes(model, batch)


class Reads(TorchDispatchMode):
    """Counts what makes the host wait for values of a tensor."""

    NAMES = ('aten::_local_scalar_dense', 'aten::nonzero', 'aten::equal')

    def __init__(self):
        super().__init__()
        self.found = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.found += [n for n in self.NAMES if n == function.name()]
        return function(*args, **(kwargs or {}))


@BOTH
@pytest.mark.parametrize('low_memory', [False, True])
def test_a_step_reads_nothing_from_the_device(adversarial, low_memory):
    train_cfg = dict(images_per_pass=2, low_memory=low_memory)
    model = network(FOUR[:3], adversarial, train_cfg=train_cfg)
    batch = join(samples(FOUR[:3], adversarial))
    # sizes of windows are worked out once, on the host
    model.train_step(batch, backward=lambda loss: loss.backward())
    with Reads() as reads:
        model.train_step(batch, backward=lambda loss: loss.backward())
        assert reads.found == []
        assert torch.ones(1) and len(reads.found) == 1
