"""The exponential moving average (EMA) of the weights.

Checkpoints hold the average under the names of the weights, and what training
goes on with under ``training_weights``. mmcv's ``EMAHook`` keeps it in buffers
of the model and, with runners that count iterations, uses it nowhere.
"""
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mmcv.runner import HOOKS, Hook
from torch import Tensor, nn

from mbos.models.adversarial_segmentor import DISCRIMINATORS
from mbos.runtime.environment import unwrapped
from .hooks import find_hook


@HOOKS.register_module()
class EMAWeightsHook(Hook):
    """Keeps an exponential moving average of the weights.

    After each ``interval``-th step of the optimizers,
    ``average += m * (weights - average)``, with ``m`` at the t-th step (from
    0) the larger of ``momentum`` and ``warm_up / (warm_up + t)``, so that the
    average does not drag the initial weights along.

    Averaged are weights and buffers of floating-point numbers, such as the
    running statistics of a BatchNorm, but not discriminators, which nothing
    but training uses. Validation, the best checkpoint and sample pictures are
    of the average.
    """

    def __init__(self,
                 momentum: float = 0.001,
                 warm_up: int = 10,
                 interval: int = 1):
        if not (0 < momentum <= 1 and warm_up >= 0 and interval >= 1):
            raise ValueError(
                'EMAWeightsHook expects 0 < momentum <= 1, warm_up from 0 and '
                f'interval from 1 up, got momentum={momentum}, '
                f'warm_up={warm_up} and interval={interval}.')
        self.momentum = momentum
        self.warm_up = warm_up
        self.interval = interval
        self.steps = 0
        self.average: dict[str, Tensor] | None = None
        self.training: dict[str, Tensor] | None = None  # while it is in use

    def start_from(self, average: dict[str, Tensor], steps: int) -> None:
        """Go on with the average of an earlier part of the run."""
        self.average = {k: v.detach().clone() for k, v in average.items()}
        self.steps = steps

    def before_run(self, runner) -> None:
        """Start from the weights that training starts from."""
        if self.average is None:
            self.start_from(self.weights(runner.model), 0)

    def after_train_iter(self, runner) -> None:
        """Move the average if the optimizers have stepped."""
        if not runner.outputs.get('stepped'):
            return
        step, self.steps = self.steps, self.steps + 1
        if self.steps % self.interval:
            return
        momentum = self.momentum
        if self.warm_up:
            updates = step // self.interval
            momentum = max(momentum, self.warm_up / (self.warm_up + updates))
        torch._foreach_lerp_(
            list(self.average.values()),
            list(self.weights(runner.model).values()), momentum)

    def resume_state(self, runner) -> dict:
        """Number of steps; the weights are in the checkpoint already."""
        return dict(steps=self.steps)

    def states(self, model: nn.Module) -> tuple[dict, dict]:
        """What a checkpoint holds: a state dict with the averaged weights, and
        the weights that training goes on with."""
        state = model.state_dict()
        if self.training is not None:
            return state, self.training
        return {**state, **self.average}, self.weights(model)

    def weights(self, model: nn.Module) -> dict[str, Tensor]:
        """What is averaged of a network, sharing its memory."""
        state = unwrapped(model).state_dict()
        names = self.average or (name for name, value in state.items(
        ) if value.is_floating_point() and not name.startswith(DISCRIMINATORS))
        return {name: state[name] for name in names}


@torch.no_grad()
def _copy(source: dict[str, Tensor], target: dict[str, Tensor]) -> None:
    for name, value in target.items():
        value.copy_(source[name])


@contextmanager
def averaged_weights(runner) -> Iterator[None]:
    """Context in which a run's network has its averaged weights, if any."""
    hook = find_hook(runner, EMAWeightsHook)
    if hook is None or hook.training is not None:
        yield
        return
    weights = hook.weights(runner.model)
    hook.training = {k: v.clone() for k, v in weights.items()}
    try:
        _copy(hook.average, weights)
        yield
    finally:
        _copy(hook.training, weights)
        hook.training = None


def as_our_hook(hook: dict) -> dict:
    """The config of a hook, with mmcv's ``EMAHook`` replaced by ours."""
    if hook.get('type') != 'EMAHook':
        return hook
    ours = {'momentum': 0.0002, **hook, 'type': 'EMAWeightsHook'}
    ours.pop('warm_up', None)  # mmcv's counts otherwise
    return ours
