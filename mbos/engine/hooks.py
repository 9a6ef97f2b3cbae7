"""Hooks that step the optimizers, seed iterations and log the losses."""
import random
from collections.abc import Iterable

import numpy as np
import torch
import torch.distributed as dist
from mmcv.runner import HOOKS, Hook, allreduce_grads, get_dist_info
from torch import Tensor, nn

from .finite_guard import FiniteGuard
from .optimizers import as_dict


def find_hook(runner, kind: type) -> Hook | None:
    """The first hook of a run that is of a kind, if there is one."""
    return next((h for h in runner.hooks if isinstance(h, kind)), None)


def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Average gradients over the processes.

    Where some have none it is zero; where none has one it stays away, so that
    the optimizer leaves the parameter alone.
    """
    if get_dist_info()[1] == 1:
        return
    parameters = [p for p in parameters if p.requires_grad]
    present = torch.tensor([p.grad is not None for p in parameters]).int()
    dist.all_reduce(present, op=dist.ReduceOp.MAX)
    found = [p for p, n in zip(parameters, present.tolist()) if n]
    for parameter in found:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
    allreduce_grads(found, bucket_size_mb=64)


@HOOKS.register_module()
class GradientStepHook(Hook):
    """Owns backward passes, gradient exchange and the optimizers' steps.

    The model calls ``backward`` once for each group of images that goes
    through it; after the iteration the gradients are averaged over the
    processes, once, and every optimizer steps.

    With ``accumulate=N`` an iteration is still one batch, but all optimizers
    step, with the mean of the gradients gathered since, after every iteration
    whose number N divides, and after the last one.

    Args:
        grad_clip (dict, optional): Arguments of
            ``torch.nn.utils.clip_grad_norm_``, applied to each optimizer's
            parameters on their own.
        loss_scaling (bool): Whether to scale losses, as fp16 needs. Gradients
            that overflow therefore are not a fault: the scaler skips that step
            and lowers the scale.
    """

    def __init__(self,
                 accumulate: int = 1,
                 grad_clip: dict | None = None,
                 loss_scaling: bool = False):
        if not isinstance(accumulate, int) or accumulate < 1:
            raise ValueError(f'accumulate is {accumulate!r}, expected a whole '
                             'number of iterations, 1 or more.')
        self.accumulate = accumulate
        self.gathered = 0  # iterations since the last step
        self.grad_clip = grad_clip
        if grad_clip is not None:
            nn.utils.clip_grad_norm_([], **grad_clip)  # fails where they do
        device = 'cuda' if torch.cuda.is_available() else 'cpu'
        self.scaler = torch.amp.GradScaler(device, enabled=loss_scaling)
        self.guard = FiniteGuard()

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of a loss, scaled if wanted, to the weights'."""
        self.scaler.scale(loss).backward()

    def resume_state(self, runner) -> dict:
        """The loss scale, once all iterations so far are known to be sound."""
        self.guard.settle()
        return dict(scaler=self.scaler.state_dict())

    def load_resume_state(self, state: dict, runner) -> None:
        """Go on from :meth:`resume_state`."""
        if state['scaler'] and self.scaler.is_enabled():
            self.scaler.load_state_dict(state['scaler'])

    def before_train_iter(self, runner):
        """Forget the gradients of the last step."""
        if self.gathered == 0:
            for optimizer in as_dict(runner.optimizer).values():
                optimizer.zero_grad(set_to_none=True)

    def after_train_iter(self, runner):
        """Exchange gradients and step, if it is time."""
        self.gathered += 1
        due = self.every_n_iters(runner,
                                 self.accumulate) or self.is_last_iter(runner)
        if due:
            average_gradients(runner.model.parameters())
        # scaled gradients may overflow, which the scaler sees to
        self.guard.look(
            runner,
            (parameter.grad for parameter in runner.model.parameters()
             if parameter.grad is not None and not self.scaler.is_enabled()))
        if due:
            self._step(runner)
            self.gathered = 0
            runner.outputs['stepped'] = True

    def _step(self, runner):
        """Step every optimizer with the mean of the gathered gradients."""
        for optimizer in as_dict(runner.optimizer).values():
            parameters = [
                p for g in optimizer.param_groups for p in g['params']
                if p.grad is not None
            ]
            if not parameters:
                continue  # the scaler refuses to step without gradients
            if self.gathered > 1:
                torch._foreach_div_([p.grad for p in parameters],
                                    self.gathered)
            if self.grad_clip is not None:
                self.scaler.unscale_(optimizer)
                nn.utils.clip_grad_norm_(parameters, **self.grad_clip)
            self.scaler.step(optimizer)
        self.scaler.update()
        # stepping with a scaler has waited for the device already
        if self.scaler.is_enabled() and self.scaler.get_scale() < 1:
            raise FloatingPointError(
                'Gradients overflow in half precision however small the '
                f'losses are scaled (iteration {runner.iter + 1}); the last '
                "checkpoint is good. Set precision='bf16' or 'float32'.")


@HOOKS.register_module()
class IterationSeedHook(Hook):
    """Seeds every iteration by its number, for dropout and drop path, so that
    a resumed run draws what an uninterrupted one draws.
    """

    def __init__(self, seed: int, rank: int = 0):
        self.seed = seed
        self.rank = rank

    def before_train_iter(self, runner):
        """Seed Python, NumPy and torch."""
        key = np.random.SeedSequence([self.seed, self.rank, runner.iter])
        words = [int(word) for word in key.generate_state(4)]
        random.seed(words[0])
        np.random.seed(words[1])
        torch.manual_seed(words[2] << 31 | words[3] >> 1)


@HOOKS.register_module()
class LossLogHook(Hook):
    """Hands the losses to the loggers, read from the device once an interval.

    A resumed run goes on with the sums of the run before.
    """

    def __init__(self, interval: int):
        self.interval = interval
        self.logged = set()
        self.sums, self.count = {}, 0

    def after_train_iter(self, runner):
        """Gather the values, and pass their means on."""
        outputs = runner.outputs
        losses = dict(outputs['losses'], loss=outputs['loss'])
        for name, value in losses.items():
            self.sums[name] = self.sums.get(name, 0) + value.detach()
        self.count += 1
        if not (self.every_n_iters(runner, self.interval)
                or self.is_last_iter(runner)):
            return
        means = {n: s / self.count for n, s in self._mean_sums().items()}
        # the loggers average over what is in the history
        for name in {*means, *self.logged}:
            runner.log_buffer.val_history.pop(name, None)
            runner.log_buffer.n_history.pop(name, None)
        self.logged = set(means)
        runner.log_buffer.update(means, self.count)
        self.sums, self.count = {}, 0

    def resume_state(self, runner) -> dict:
        """Sums since the last line, as means over the processes."""
        return dict(sums=self._mean_sums(), count=self.count)

    def load_resume_state(self, state: dict, runner) -> None:
        """Go on from :meth:`resume_state`."""
        if 'sums' in state:  # version 0.1 kept them otherwise
            self.sums, self.count = dict(state['sums']), state['count']

    def _mean_sums(self) -> dict[str, float]:
        if not self.sums:
            return {}
        names = sorted(self.sums)
        stacked = torch.stack([self.sums[n].float() for n in names])
        world = get_dist_info()[1]
        if world > 1:
            dist.all_reduce(stacked)
            stacked /= world
        return dict(zip(names, stacked.tolist()))
