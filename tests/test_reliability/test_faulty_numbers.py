"""A NaN in the middle of a run, through the whole of training."""
import os

import pytest
import torch
from mmcv.runner import HOOKS, Hook

from mbos.checkpoints.loading import read_checkpoint
from tests.test_reliability.runs import folder_of, write_long_config


@HOOKS.register_module()
class BreakImage(Hook):
    """Puts a NaN into the first image of the third iteration."""

    def before_train_iter(self, runner):
        if runner.iter == 2:
            runner.data_batch['img'].data[0][0, 0, 0, 0] = float('nan')


@pytest.mark.parametrize('stage', [1, 2])
def test_the_run_ends_and_the_last_checkpoint_is_good(long_runs, tool,
                                                      tmp_path, stage):
    data = long_runs[stage].data
    hooks = [dict(type='BreakImage')]
    config = write_long_config(
        tmp_path / 'a.py', data, stage == 2, custom_hooks=hooks)
    said = tool('train.py', config, '--work-dir', 'w', '--no-validate')
    assert said.startswith('Error: Not finite in iteration 3: the loss aux.')
    assert 'decode.loss_truth.vessel' in said
    for folder in ('c0', 'c1'):  # one image of each dataset
        assert f'{data}/{folder}/images/eye_' in said
    checkpoints = folder_of('w', stage == 2)
    assert {n
            for n in os.listdir(checkpoints)
            if n.endswith('.pth')} == {'iter_2.pth', 'latest.pth'}
    state = read_checkpoint(str(checkpoints / 'latest.pth'))['state_dict']
    assert all(torch.isfinite(v).all() for v in state.values())
