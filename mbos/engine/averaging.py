"""The exponential moving average (EMA) of the weights.

Checkpoints hold the average under the names of the weights, and what training
goes on with under ``training_weights``.
"""
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mmcv.runner import HOOKS, Hook
from torch import Tensor, nn

from mbos.models.adversarial_segmentor import DISCRIMINATORS
from mbos.runtime.environment import unwrapped
from .hooks import find_hook


@HOOKS.register_module(['EMAWeightsHook', 'EMAHook'], force=True)
class EMAWeightsHook(Hook):
    """Keeps an exponential moving average of the weights.

    After each step of the optimizers ``average += m * (weights - average)``,
    with ``m`` at the t-th step (from 0) the larger of ``momentum`` and
    ``warm_up / (warm_up + t)``, so that the average does not drag the initial
    weights along.

    Averaged are weights and buffers of floating-point numbers, but not
    discriminators, which only training uses. Validation, the best checkpoint
    and sample pictures are of the average. It replaces mmcv's ``EMAHook``,
    which, with runners that count iterations, uses the average nowhere.
    """

    def __init__(self, momentum: float = 0.001, warm_up: int = 10):
        if not 0 < momentum <= 1 or warm_up < 0:
            raise ValueError('EMAWeightsHook expects 0 < momentum <= 1 and '
                             'warm_up from 0 up, got '
                             f'momentum={momentum}, warm_up={warm_up}.')
        self.momentum, self.warm_up, self.steps = momentum, warm_up, 0
        self.average: dict[str, Tensor] = {}
        self.in_use = False  # the two have changed places

    def before_run(self, runner) -> None:
        """Start from the weights that training starts from, unless resumed."""
        if not self.average:
            weights = self.weights(runner.model).items()
            self.average = {k: v.detach().clone() for k, v in weights}

    def after_train_iter(self, runner) -> None:
        """Move the average if the optimizers have stepped."""
        if not runner.outputs.get('stepped'):
            return
        momentum = self.warm_up / max(1, self.warm_up + self.steps)
        self.steps += 1
        weights = self.weights(runner.model)
        torch._foreach_lerp_([*self.average.values()], [*weights.values()],
                             max(self.momentum, momentum))

    def resume_state(self, runner) -> dict:
        """Number of steps; the weights are in the checkpoint already."""
        return dict(steps=self.steps)

    def load_resume_state(self, state: dict, runner) -> None:
        """Go on from :meth:`resume_state`."""
        self.steps = state['steps']

    def states(self, model: nn.Module) -> tuple[dict, dict]:
        """A state dict with the average, and what training goes on with."""
        if self.in_use:
            return model.state_dict(), self.average
        return {**model.state_dict(), **self.average}, self.weights(model)

    def weights(self, model: nn.Module) -> dict[str, Tensor]:
        """What is averaged of a network, sharing its memory."""
        state = unwrapped(model).state_dict()
        names = self.average or [
            name for name, value in state.items() if value.is_floating_point()
            and not name.startswith(DISCRIMINATORS)
        ]
        return {name: state[name] for name in names}

    @torch.no_grad()
    def swap(self, model: nn.Module) -> None:
        """Let the weights of the network and the average change places."""
        for name, value in self.weights(model).items():
            before = value.clone()
            value.copy_(self.average[name])
            self.average[name].copy_(before)
        self.in_use = not self.in_use


@contextmanager
def averaged_weights(runner) -> Iterator[None]:
    """Context in which a run's network has its averaged weights, if any."""
    hook = find_hook(runner, EMAWeightsHook)
    if hook is not None:
        hook.swap(runner.model)
    try:
        yield
    finally:
        if hook is not None:
            hook.swap(runner.model)
