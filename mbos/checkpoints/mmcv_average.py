"""Averaged weights as mmcv's ``EMAHook`` leaves them in checkpoints."""
from torch import Tensor

PREFIX = 'ema_'


def split_mmcv_average(state: dict[str, Tensor]) -> tuple[dict, dict]:
    """Separate weights from the ``ema_*`` buffers of mmcv's ``EMAHook``.

    Returns:
        tuple[dict, dict]: The state without those buffers, and by name of the
        weight the averages that were in them.
    """
    buffers = {f'{PREFIX}{k.replace(".", "_")}': k for k in state}
    average = {
        buffers[name]: value
        for name, value in state.items()
        if name in buffers and value.shape == state[buffers[name]].shape
    }
    rest = {k: v for k, v in state.items() if buffers.get(k) not in average}
    return rest, average
