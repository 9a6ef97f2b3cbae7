"""Entries of a state dict that belong to no part of a network."""
import logging
import types

import pytest
import torch
from mmcv.runner import EMAHook
from torch import nn

from mbos.apis import load_model, read_checkpoint
from mbos.checkpoints.foreign_state import (split_foreign, split_mmcv_average,
                                            without_wrapper)

ONE = torch.ones(1)


def test_parts_are_kept_whether_the_network_has_them_or_not():
    state = {
        'backbone.norm.weight': ONE,
        'neck.x': ONE,
        'ema_model.backbone.norm.weight': ONE,
        'seen_images': ONE,
        'own_part.weight': ONE
    }
    kept, foreign = split_foreign(state, ['own_part.bias'])
    assert list(kept) == ['backbone.norm.weight', 'neck.x', 'own_part.weight']
    assert foreign == ['ema_model.backbone.norm.weight', 'seen_images']


@pytest.mark.parametrize(
    'stored, names',
    [
        (('module.a', 'module.b.c'), ('a', 'b.c')),
        (('_orig_mod.backbone.a', ), ('backbone.a', )),
        (('module._orig_mod.backbone.a', ), ('backbone.a', )),
        # as torch.optim.swa_utils.AveragedModel has them
        (('n_averaged', 'module.backbone.a'), ('n_averaged', 'backbone.a')),
        # a part of the user's own
        (('module.a', 'backbone.b'), ('module.a', 'backbone.b')),
    ])
def test_wrappers_are_taken_off(stored, names):
    assert tuple(without_wrapper(dict.fromkeys(stored, ONE))) == names


def test_buffers_of_mmcv():
    """As mmcv's own hook makes them."""
    model = nn.Sequential(nn.Linear(1, 1), nn.BatchNorm1d(1))
    EMAHook().before_run(types.SimpleNamespace(model=model))
    with torch.no_grad():
        model[0].weight.fill_(5.)
        model.ema_0_weight.fill_(3.)
    state, average = split_mmcv_average(model.state_dict())
    assert state['0.weight'].item() == 5. and average['0.weight'].item() == 3.
    assert set(average) == {'0.weight', '0.bias', '1.weight', '1.bias'}
    assert set(state) - set(average) == {
        '1.running_mean', '1.running_var', '1.num_batches_tracked'
    }


@pytest.fixture
def spoiled(runs, tmp_path):
    """A checkpoint with a buffer, a teacher and a wrapper's names."""
    content = torch.load(runs.checkpoint1, weights_only=True)
    state = content['state_dict']
    state.update({
        f'teacher.{name}': value.clone()
        for name, value in list(state.items())
    })
    state['seen_images'] = ONE
    content['state_dict'] = {f'module.{k}': v for k, v in state.items()}
    torch.save(content, tmp_path / 'spoiled.pth')
    return str(tmp_path / 'spoiled.pth')


def test_it_can_be_used_for_everything(runs, tool, spoiled, caplog, tmp_path,
                                       capsys):
    whole = load_model(runs.checkpoint1, device='cpu').state_dict()
    logging.getLogger('mmseg').propagate = True
    with caplog.at_level('INFO'):
        found = load_model(spoiled, device='cpu').state_dict()
    assert 'seen_images' in caplog.text and 'no part of' in caplog.text
    assert all(torch.equal(found[k], v) for k, v in whole.items())
    assert tool('train.py', runs.config1, '--work-dir', 'w', '--no-validate',
                '--resume-from', spoiled, '--cfg-options',
                'runner.max_iters=5') is None
    assert set(read_checkpoint('w/iter_5.pth')['state_dict']) == set(
        read_checkpoint(runs.checkpoint1)['state_dict'])
    assert tool('publish_model.py', spoiled, 'p') is None
    assert 'seen_images' in capsys.readouterr().out
    published, = tmp_path.glob('p-*.pth')
    assert set(read_checkpoint(str(published))['state_dict']) == set(whole)
