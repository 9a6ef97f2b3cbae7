import types

import torch
from mmcv.runner import EMAHook
from torch import nn

from mbos.checkpoints.foreign_state import split_mmcv_average


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
