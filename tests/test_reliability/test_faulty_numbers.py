"""A NaN in the middle of a run, through the whole of training."""
import os

import pytest
import torch
from mmcv.runner import HOOKS, Hook

from mbos.checkpoints.loading import read_checkpoint
from tests.test_reliability.runs import folder_of, write_long_config


@HOOKS.register_module()
class BreakImage(Hook):
    """Puts a NaN into the first image of some iterations."""

    def __init__(self, iterations):
        self.iterations = iterations

    def before_train_iter(self, runner):
        if runner.iter + 1 in self.iterations:
            runner.data_batch['img'].data[0][0, 0, 0, 0] = float('nan')


@pytest.fixture
def train(long_runs, tool, tmp_path):
    """Function that trains on broken images in some iterations."""

    def run(*iterations, stage=1, **changes):
        config = write_long_config(
            tmp_path / 'a.py',
            long_runs[stage].data,
            stage == 2,
            custom_hooks=[dict(type='BreakImage', iterations=iterations)],
            **changes)
        return tool('train.py', config, '--work-dir', 'w', '--no-validate')

    return run


@pytest.mark.parametrize('stage', [1, 2])
def test_the_run_ends_and_the_last_checkpoint_is_good(long_runs, train, stage):
    said = train(3, stage=stage)
    assert said.startswith('Error: Not finite in iteration 3: the loss aux.')
    assert 'decode.loss_truth.vessel' in said
    for folder in ('c0', 'c1'):  # one image of each dataset
        assert f'{long_runs[stage].data}/{folder}/images/eye_' in said
    checkpoints = folder_of('w', stage == 2)
    assert {n
            for n in os.listdir(checkpoints)
            if n.endswith('.pth')} == {'iter_2.pth', 'latest.pth'}
    state = read_checkpoint(str(checkpoints / 'latest.pth'))['state_dict']
    assert all(torch.isfinite(v).all() for v in state.values())
