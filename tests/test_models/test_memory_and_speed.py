"""Low-memory mode, compilation, and steps that do not wait for the device."""
import shutil

import pytest
import torch
from torch.utils.checkpoint import checkpoint

from mbos.engine.optimizers import fused_by_default
from mbos.models import recomputation
from tests.test_models.test_segmentors import (FOUR, assert_same, join,
                                               network, run, samples)
from tests.utils import tiny_model

BOTH = pytest.mark.parametrize('adversarial', [False, True])


def twin(model, adversarial, **train_cfg):
    """The same weights in a network with another ``train_cfg``."""
    other = network(FOUR[:3], adversarial, train_cfg=train_cfg)
    other.load_state_dict(model.state_dict())
    return other


@BOTH
def test_low_memory_changes_no_result(adversarial, monkeypatch):
    calls = []

    def counted(*args, **kwargs):
        calls.append(1)
        return checkpoint(*args, **kwargs)

    monkeypatch.setattr(recomputation, 'checkpoint', counted)
    model = network(FOUR[:3], adversarial)
    batch = samples(FOUR[:3], adversarial)
    expected = run(model, batch)
    assert not calls
    assert_same(
        run(twin(model, adversarial, low_memory=True), batch), expected)
    assert calls


def test_low_memory_draws_the_same_dropout():
    results = []
    for low_memory in (False, True):
        torch.manual_seed(0)
        model = tiny_model(
            window=8,
            adversarial=True,
            train_cfg=dict(images_per_pass=1, low_memory=low_memory))
        for module in model.modules():
            if isinstance(module, torch.nn.Dropout2d):
                module.p = 0.5
        model.init_weights()
        torch.manual_seed(1)
        results.append(run(model.double().train(), samples(FOUR[:3], True)))
    assert_same(results[1], results[0])


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


class Reads:
    """Counts whatever makes the host wait for values of a tensor."""

    METHODS = ('item', 'tolist', 'cpu', 'numpy', '__bool__', '__int__',
               '__float__', '__index__', 'nonzero')

    def __init__(self, monkeypatch):
        self.names = []
        for name in self.METHODS:
            monkeypatch.setattr(torch.Tensor, name,
                                self._spy(name, getattr(torch.Tensor, name)))

    def _spy(self, name, original):

        def method(tensor, *args, **kwargs):
            self.names.append(name)
            return original(tensor, *args, **kwargs)

        return method


@BOTH
@pytest.mark.parametrize('low_memory', [False, True])
def test_a_step_reads_nothing_from_the_device(adversarial, low_memory,
                                              monkeypatch):
    model = network(
        FOUR[:3],
        adversarial,
        train_cfg=dict(images_per_pass=2, low_memory=low_memory))
    batch = join(samples(FOUR[:3], adversarial))
    # sizes of windows are worked out once, on the host
    model.train_step(batch, backward=lambda loss: loss.backward())
    reads = Reads(monkeypatch)
    model.train_step(batch, backward=lambda loss: loss.backward())
    assert reads.names == []
    assert torch.ones(1).item() == 1 and reads.names == ['item']


@pytest.mark.slow
@pytest.mark.xfail(
    torch.__version__ < '2.13',
    reason="an assertion in torch 2.12's code generator")
@pytest.mark.skipif(not shutil.which('g++'), reason='needs a compiler')
def test_compiled():
    """About a minute: python -m pytest -m slow tests/test_models."""
    model = network(FOUR[:2], True)
    batch = samples(FOUR[:2], True)
    expected = run(model, batch)
    names = list(model.state_dict())
    model.compile_parts()
    assert list(model.state_dict()) == names
    assert_same(run(model, batch), expected, 1e-4)


def test_fused_optimizers_unless_told_otherwise():
    cfg = dict(
        constructor='NamedOptimizersConstructor',
        generator=dict(type='AdamW', lr=1, paramwise_cfg=dict(norm=dict())),
        discriminators=dict(type='Adam', foreach=True),
        other=dict(type='RMSprop'))
    found = fused_by_default(cfg)
    assert found['generator'] == dict(cfg['generator'], fused=True)
    assert found['discriminators'] == cfg['discriminators']
    assert found['other'] == cfg['other']
    assert 'fused' not in cfg['generator']
    assert fused_by_default(dict(type='SGD', lr=1))['fused']
