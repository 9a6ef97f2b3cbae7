"""The exponential moving average (EMA) of the weights.

Checkpoints hold the average under the names of the weights, so whoever reads
one gets it without more ado: prediction, tests, pseudo labels, ``load_from``,
publishing, ONNX. What training goes on with is kept beside it, under
``training_weights``, and only resuming reads that.

mmcv's ``EMAHook`` keeps the average in ``ema_*`` buffers of the model instead
and, with runners that count iterations, uses it nowhere.
"""
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mmcv.runner import HOOKS, Hook
from torch import Tensor, nn

from mbos.faults import InvalidConfigError
from mbos.models.adversarial_segmentor import DISCRIMINATORS
from mbos.runtime.environment import unwrapped
from .hooks import find_hook


@HOOKS.register_module()
class EMAWeightsHook(Hook):
    """Keeps an exponential moving average of the weights.

    After each step of the optimizers,
    ``average += m * (weights - average)``, with ``m`` at the t-th step (from
    0) the larger of ``momentum`` and ``warm_up / (warm_up + t)``: early in
    training the average spans the last tenth, or so, of the steps done, so
    that it does not drag the initial weights along.

    Averaged are weights and buffers of floating-point numbers, such as the
    running statistics of a BatchNorm, but not discriminators, which nothing
    but training uses. Validation, the best checkpoint and sample pictures are
    of the average.

    Args:
        momentum (float): Share of the new weights, above 0 and up to 1; the
            average spans about ``1 / momentum`` steps. Default: 0.001.
        warm_up (int): See above; 0 for none. Default: 10.
        interval (int): Steps between two updates. Default: 1.
    """

    def __init__(self,
                 momentum: float = 0.001,
                 warm_up: int = 10,
                 interval: int = 1):
        if not 0 < momentum <= 1:
            raise ValueError(f'momentum is {momentum!r}, expected the share '
                             'of the new weights, above 0 and up to 1, such '
                             'as 0.001.')
        if not warm_up >= 0:
            raise ValueError(f'warm_up is {warm_up!r}, expected 0 or more.')
        if interval < 1:
            raise ValueError(f'interval is {interval!r}, expected 1 or more.')
        self.momentum = momentum
        self.warm_up = warm_up
        self.interval = interval
        self.steps = 0
        self.average: dict[str, Tensor] | None = None
        self._training: dict[str, Tensor] | None = None

    def start_from(self, average: dict[str, Tensor], steps: int) -> None:
        """Go on with the average of an earlier part of the run."""
        self.average = {k: v.detach().clone() for k, v in average.items()}
        self.steps = steps

    def before_run(self, runner) -> None:
        """Start from the weights that training starts from."""
        if self.average is None:
            self.start_from(averaged_part(runner.model), 0)
        runner.logger.info(
            f'Checkpoints and validation use averaged weights (EMA, momentum '
            f'{self.momentum}, {self.steps} step(s) so far).')

    def after_train_iter(self, runner) -> None:
        """Move the average if the optimizers have stepped."""
        if not runner.outputs.get('stepped'):
            return
        step, self.steps = self.steps, self.steps + 1
        if self.steps % self.interval:
            return
        updates = step // self.interval
        momentum = self.momentum
        if self.warm_up:
            momentum = max(momentum, self.warm_up / (self.warm_up + updates))
        weights = self._weights(runner.model)
        torch._foreach_lerp_([self.average[name] for name in weights],
                             list(weights.values()), momentum)

    def resume_state(self, runner) -> dict:
        """Number of steps; the weights are in the checkpoint already."""
        return dict(steps=self.steps)

    def states(self, model: nn.Module) -> tuple[dict, dict]:
        """The network's state with the average, and what training needs.

        Returns:
            tuple[dict, dict]: A state dict with the averaged weights, and the
            weights that the average stands for, by name.
        """
        state = model.state_dict()
        if self._training is not None:  # the model holds the average now
            return state, self._training
        return {**state, **self.average}, self._weights(model)

    def _weights(self, model: nn.Module) -> dict[str, Tensor]:
        """What is averaged, without what hooks have added to it since."""
        return {
            name: value
            for name, value in averaged_part(model).items()
            if name in self.average
        }

    @contextmanager
    def in_use(self, model: nn.Module) -> Iterator[None]:
        """Context in which the network has the averaged weights."""
        if self._training is not None:
            yield
            return
        weights = self._weights(model)
        self._training = {k: v.clone() for k, v in weights.items()}
        try:
            _copy(self.average, weights)
            yield
        finally:
            _copy(self._training, weights)
            self._training = None


def averaged_part(model: nn.Module) -> dict[str, Tensor]:
    """The weights and buffers that are averaged, sharing their memory."""
    state = unwrapped(model).state_dict()
    return {
        name: value
        for name, value in state.items()
        if value.is_floating_point() and not name.startswith(DISCRIMINATORS)
    }


@torch.no_grad()
def _copy(source: dict[str, Tensor], target: dict[str, Tensor]) -> None:
    for name, value in target.items():
        value.copy_(source[name])


@contextmanager
def averaged_weights(runner) -> Iterator[None]:
    """Context in which a run's network has its averaged weights, if any."""
    hook = find_hook(runner, EMAWeightsHook)
    if hook is None:
        yield
        return
    with hook.in_use(runner.model):
        yield


def as_our_hook(hook: dict) -> dict:
    """The config of a hook, with mmcv's ``EMAHook`` replaced by ours.

    Raises:
        InvalidConfigError: If mmcv's is given a ``resume_from``.
    """
    if hook.get('type') != 'EMAHook':
        return hook
    if hook.get('resume_from'):
        raise InvalidConfigError(
            'custom_hooks: EMAHook has resume_from; leave it out and resume '
            'with --resume-from, which restores the averaged weights too.')
    kept = {k: v for k, v in hook.items() if k in ('interval', 'priority')}
    return dict(
        kept, type='EMAWeightsHook', momentum=hook.get('momentum', 0.0002))
