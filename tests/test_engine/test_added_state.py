"""Hooks of the user's that add to the network's state."""
import sys

import pytest
import torch

from mbos.apis import load_model, read_checkpoint
from tests.tiny_runs import config_of, write_config, write_data

TWO = ('vessel', 'lesion')
HOOKS = '''
import torch
from mmcv.runner import HOOKS, Hook


@HOOKS.register_module(force=True)
class CountingHook(Hook):

    def before_run(self, runner):
        runner.model.module.register_buffer('seen_images', torch.zeros(1))

    def after_train_iter(self, runner):
        runner.model.module.seen_images += 1


@HOOKS.register_module(force=True)
class RenamingHook(Hook):

    def before_run(self, runner):
        model = runner.model.module
        model.backbone = torch.nn.Sequential(model.backbone)
'''


@pytest.fixture
def config(tmp_path, monkeypatch):
    """Function that writes a config with one of these hooks."""
    write_data(tmp_path / 'data', TWO)
    (tmp_path / 'hooks_of_mine.py').write_text(HOOKS)
    monkeypatch.setattr(sys, 'path', [str(tmp_path), *sys.path])

    def write(name, *hooks):
        return write_config(
            tmp_path / f'{name}.py',
            config_of(
                tmp_path / 'data',
                TWO,
                custom_imports=dict(imports=['hooks_of_mine']),
                custom_hooks=[dict(type=hook) for hook in hooks]))

    return write


def test_what_hooks_add_is_kept_apart(config, tool, tmp_path, caplog):
    path = config('counts', 'CountingHook', 'EMAWeightsHook')
    assert tool('train.py', path, '--work-dir', 'w', '--no-validate') is None
    assert "added to the network's state: seen_images" in caplog.text
    content = read_checkpoint(str(tmp_path / 'w/iter_4.pth'))
    assert content['added_state']['seen_images'].item() == 4
    assert 'seen_images' not in content['state_dict']
    load_model(str(tmp_path / 'w/iter_4.pth'), device='cpu')
    assert tool('train.py', path, '--work-dir', 'again', '--no-validate',
                '--resume-from', 'w/iter_2.pth') is None
    again = read_checkpoint(str(tmp_path / 'again/iter_4.pth'))
    assert again['added_state']['seen_images'].item() == 4
    for name, value in content['state_dict'].items():
        assert torch.equal(value, again['state_dict'][name]), name


def test_what_no_hook_adds_any_more_is_named(config, tool, caplog):
    path = config('counts', 'CountingHook')
    assert tool('train.py', path, '--work-dir', 'w', '--no-validate') is None
    assert tool('train.py', config('without'), '--work-dir', 'x',
                '--no-validate', '--resume-from', 'w/iter_2.pth') is None
    assert 'seen_images. No hook adds it now' in caplog.text.replace('\n', ' ')


def test_weights_of_other_names_are_refused(config, tool):
    said = tool('train.py', config('renames', 'RenamingHook'), '--work-dir',
                'w', '--no-validate')
    assert 'backbone.' in said and 'custom_hooks' in said
