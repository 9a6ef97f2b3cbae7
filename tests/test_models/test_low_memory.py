"""Low-memory mode."""
import pytest
import torch

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
