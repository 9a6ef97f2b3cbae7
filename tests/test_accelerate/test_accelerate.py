"""The door: what it exchanges, what stays, and who uses it."""
import copy
from types import SimpleNamespace

import pytest
import torch
from mmcv import Config
from mmcv.cnn.bricks.transformer import FFN
from mmseg.models import build_segmentor

from mbos.accelerate import (ACCELERATORS, accelerate, accelerate_on_cpu,
                             is_wanted, restore)
from mbos.accelerate.transformer import CachedWindowMSA
from tests.test_models.test_segmentors import (FOUR, assert_same, network, run,
                                               samples)
from tests.utils import tiny_model, tiny_model_cfg

ONLY = [*([name] for name in ACCELERATORS), None]


def classes(model):
    return {name: type(module) for name, module in model.named_modules()}


@pytest.mark.parametrize('only', ONLY, ids=str)
def test_weights_stay_and_all_can_be_undone(only):
    model = tiny_model(window=8, adversarial=True)
    before, weights = classes(model), dict(model.named_parameters())
    keys = list(model.state_dict())
    assert accelerate(accelerate(model, only), only) is model
    assert classes(copy.deepcopy(model)) == classes(model)
    assert classes(model) != before
    assert all(issubclass(kind, before[n])
               for n, kind in classes(model).items())  # yapf: disable
    assert list(model.state_dict()) == keys
    assert all(p is weights[n] for n, p in model.named_parameters())
    assert classes(restore(model)) == before


@pytest.mark.parametrize('only, adversarial, low_memory', [
    *((only, True, False) for only in ONLY),
    (None, True, True),
    (None, False, False),
    (None, False, True),
], ids=str)  # yapf: disable
def test_training_is_the_same(only, adversarial, low_memory):
    """Losses and gradients; without gradients where there were none."""
    batch = samples(FOUR[:3], adversarial)
    expected = run(network(FOUR[:3], adversarial), batch)
    fast = accelerate(
        network(FOUR[:3], adversarial, train_cfg=dict(low_memory=low_memory)),
        only)
    assert_same(run(fast, batch), expected)


def test_other_classes_are_left_alone():

    class OwnFFN(FFN):
        pass

    assert type(accelerate(OwnFFN(4, 8))) is OwnFFN


@pytest.mark.parametrize('device, cfg, wanted', [
    ('cpu', None, True),
    ('cpu', dict(), True),
    ('cpu', Config(dict(accelerate=False)), False),
    (torch.device('cuda', 0), dict(accelerate=True), False),
])
def test_on_cpu_unless_the_config_says_no(device, cfg, wanted, monkeypatch):
    kept = []
    monkeypatch.setattr('mbos.accelerate.keep_freed_memory',
                        lambda: kept.append(True))
    assert is_wanted(device, cfg) == wanted
    model = tiny_model()
    before = classes(model)
    accelerate_on_cpu(model, device, cfg)
    assert (classes(model) != before) == wanted
    assert bool(kept) == wanted


def test_training_uses_it():
    from mbos.engine.train import prepare_model
    env = SimpleNamespace(device=torch.device('cpu'))
    for changes in dict(accelerate=True), dict(compile=True):
        cfg = dict(seed=0, model=tiny_model_cfg(), load_from=None, **changes)
        found = classes(prepare_model(Config(cfg), env, None)).values()
        fast = CachedWindowMSA in found
        assert fast == ('accelerate' in changes)


def test_names_of_version_0_1():
    """Configs and checkpoints name the parts of that version."""
    cfg = tiny_model_cfg()
    cfg.backbone.type = 'LeanSwinTransformer'
    cfg.decode_head.head.type = 'LeanUPerHead'
    assert classes(build_segmentor(cfg)) == classes(tiny_model())
