"""Overrides of keys that a config does not have."""
import warnings

import pytest

from mbos.apis import load_config
from mbos.config_overrides import check_overrides
from tests.test_golden import STAGE2_CONFIG

CONFIG = dict(
    data=dict(samples_per_gpu=1, train=dict(type='A', datasets=[])),
    model=dict(type='B', train_cfg=dict(low_memory=False)),
    optimizer=dict(
        generator=dict(type='C', paramwise_cfg=dict(custom_keys=dict(a=1)))),
    data_root='data')


@pytest.mark.parametrize('key, meant', [
    ('data_rot', 'data_root'),
    ('data.samples_per_gp', 'data.samples_per_gpu'),
    ('data.trian.datasets', 'data.train'),
    ('model.train_cfg.low_memroy', 'model.train_cfg.low_memory'),
    ('model.train_cfg.image_per_pass', 'model.train_cfg.images_per_pass'),
    ('optimizer.generater.lr', 'optimizer.generator'),
    ('sed', 'seed'),
    ('tf-32', 'tf32'),
])  # yapf: disable
def test_mistyped_keys_are_refused(key, meant):
    with pytest.raises(ValueError, match=f'--cfg-options {key}: .*{meant!r}'):
        check_overrides(CONFIG, {key: 1})


@pytest.mark.parametrize('key', [
    'data_root', 'data.samples_per_gpu', 'data.train.anything',
    'data.train.datasets.3.name', 'model.train_cfg.images_per_pass', 'seed',
    'model.anything', 'optimizer.generator.paramwise_cfg.custom_keys.b',
    'data_root.deeper'
])  # yapf: disable
def test_keys_that_are_read_pass_in_silence(key):
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        check_overrides(CONFIG, {key: 1})


def test_other_new_keys_are_told():
    with pytest.warns(UserWarning, match="mine.x: The config had no 'mine'"):
        check_overrides(CONFIG, {'mine.x': 1})


def test_load_config_refuses():
    with pytest.raises(ValueError, match="'data.workers_per_gpu'"):
        load_config(STAGE2_CONFIG, {'data.worker_per_gpu': 2})
