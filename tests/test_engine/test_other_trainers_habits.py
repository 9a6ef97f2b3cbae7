"""What configs of mmseg's and mmcv's trainers have, and is refused here."""
import logging
from types import SimpleNamespace

import pytest
from mmcv.runner import HOOKS, build_optimizer
from mmcv.utils import build_from_cfg
from mmseg.models import build_segmentor
from torch import nn

from mbos.config import build_checked
from mbos.engine.rehearsal import rehearse_schedules
from mbos.engine.runner import CheckedIterRunner
from mbos.faults import InvalidConfigError
from mbos.models.checks import single_values_explained
from tests.utils import tiny_model_cfg

TWO = ('vessel', 'lesion')


@pytest.mark.parametrize('hook', [
    dict(type='PolyLrUpdaterHook', min_lr=(1, )),
    dict(type='OneCycleLrUpdaterHook', max_lr=0.1, total_steps=1),
    dict(type='CyclicLrUpdaterHook', cyclic_times='x'),
    dict(type='PolyLrUpdaterHook', warmup='linear', warmup_iters=2,
         warmup_ratio=0.5, power='x'),
])  # yapf: disable
def test_schedules_without_values(hook):
    runner = SimpleNamespace(
        hooks=[build_checked(build_from_cfg, dict(hook, by_epoch=False),
                             HOOKS)],
        max_iters=10)  # yapf: disable
    with pytest.raises(InvalidConfigError, match='lr_config'):
        rehearse_schedules(runner)


def test_schedules_are_what_they_were():
    hook = build_from_cfg(
        dict(type='PolyLrUpdaterHook', power=1.0, by_epoch=False), HOOKS)
    before = dict(vars(hook))
    rehearse_schedules(SimpleNamespace(hooks=[hook], max_iters=1))
    assert vars(hook) == before


@pytest.mark.parametrize('part, words', [
    (dict(head=dict(type='SegformerHead')), 'SegformerHead does not serve'),
    (dict(head=dict(type='FPNHead', feature_strides=[4, 8, 16, 32])),
     'FPNHead does not serve.*UPerHead'),
    (dict(loss_decode=dict(type='CrossEntropyLoss')),
     'CrossEntropyLoss does not serve.*BinaryLoss'),
])
def test_heads_and_losses_of_one_task(part, words):
    cfg = tiny_model_cfg(TWO)
    for key, value in part.items():
        settings = {} if key == 'loss_decode' else cfg.decode_head[key]
        cfg.decode_head[key] = dict(settings, **value)
        cfg.decode_head[key].pop('dropout_ratio', None)
    with pytest.raises(InvalidConfigError, match=words):
        build_checked(build_segmentor, cfg)


def test_a_type_of_a_package_that_nobody_imported():
    cfg = tiny_model_cfg(TWO, backbone=dict(type='mmnone.ConvNeXt'))
    with pytest.raises(InvalidConfigError, match='custom_imports'):
        build_checked(build_segmentor, cfg)


def test_hooks_of_libraries_fail_in_a_sentence():
    """This one expects a loader with a sampler of mmcv's."""
    model = nn.Linear(1, 1)
    model.train_step = lambda *args, **kwargs: {}
    runner = CheckedIterRunner(
        model,
        optimizer=build_optimizer(model, dict(type='SGD', lr=0.1)),
        logger=logging.getLogger('test'),
        max_iters=1)
    runner.register_hook(build_from_cfg(dict(type='DistSamplerSeedHook'),
                                        HOOKS))  # yapf: disable
    with pytest.raises(InvalidConfigError, match='DistSamplerSeedHook'):
        runner.call_hook('before_epoch')


def test_synchronised_norms_on_cpu():
    with pytest.raises(ValueError, match="type='BN'"), \
            single_values_explained():
        raise ValueError('SyncBatchNorm expected input tensor to be on GPU')
