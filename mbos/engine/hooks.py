"""Hooks that step the optimizers and seed iterations, and what they do when a
loss, a gradient or a weight is NaN or infinite."""
import random
from collections.abc import Iterable

import numpy as np
import torch
import torch.distributed as dist
from mmcv.runner import HOOKS, Hook, allreduce_grads, get_dist_info
from torch import Tensor, nn

from mbos.faults import first_of
from mbos.runtime.environment import any_process
from .optimizers import as_dict

_SHOWN = 12


def find_hook(runner, kind: type) -> Hook | None:
    """The first hook of a run that is of a kind, if there is one."""
    return next((h for h in runner.hooks if isinstance(h, kind)), None)


def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Average gradients over the processes; missing ones are zero, but stay
    away where no process has one, so that the parameter is left alone."""
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
    through it. With ``accumulate=N`` all optimizers step, with the mean of the
    gradients gathered since, after every iteration whose number N divides, and
    after the last one. ``grad_clip`` has arguments of torch's
    ``clip_grad_norm_``, for each optimizer on its own. With ``loss_scaling``,
    for fp16, gradients that overflow are not a fault: the scaler skips that
    step and lowers the scale.
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

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of a loss, scaled if wanted, to the weights'."""
        self.scaler.scale(loss).backward()

    def resume_state(self, runner) -> dict:
        """The loss scale."""
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
        due = self.is_last_iter(runner) or self.every_n_iters(
            runner, self.accumulate)
        parameters = list(runner.model.parameters())
        if due:
            average_gradients(parameters)
        found = [] if self.scaler.is_enabled() else parameters
        check_finite(runner, [p.grad for p in found if p.grad is not None])
        if due:
            self._step(runner)
            self.gathered = 0
            runner.outputs['stepped'] = True

    def _step(self, runner):
        """Step every optimizer with the mean of the gathered gradients."""
        for optimizer in as_dict(runner.optimizer).values():
            owned = [p for g in optimizer.param_groups for p in g['params']]
            parameters = [p for p in owned if p.grad is not None]
            if not parameters:
                continue  # the scaler refuses to step without gradients
            if self.gathered > 1:
                gradients = [p.grad for p in parameters]
                torch._foreach_div_(gradients, self.gathered)
            if self.grad_clip is not None:
                self.scaler.unscale_(optimizer)
                nn.utils.clip_grad_norm_(parameters, **self.grad_clip)
            self.scaler.step(optimizer)
        self.scaler.update()
        if self.scaler.is_enabled() and self.scaler.get_scale() < 1:
            raise FloatingPointError(
                'Gradients overflow in half precision however small the '
                f'losses are scaled (iteration {runner.iter + 1}); the last '
                "checkpoint is good. Set precision='bf16' or 'float32'.")


def check_finite(runner, gradients: Iterable[Tensor]) -> None:
    """Raise a FloatingPointError, in all processes, when a loss or a gradient
    is not finite: it names terms, iteration and images."""
    losses = dict(runner.outputs['losses'], loss=runner.outputs['loss'])
    values = [value.detach() for value in (*losses.values(), *gradients)]
    ends = [end.float() for value in values for end in torch.aminmax(value)]
    if not any_process(not torch.isfinite(torch.stack(ends)).all()):
        return
    metas = getattr(runner.data_batch.get('img_metas'), 'data', [])
    images = [meta['filename'] for batch in metas for meta in batch]
    mine = _not_finite(losses), images
    found = [mine] * get_dist_info()[1]
    if len(found) > 1:
        dist.all_gather_object(found, mine)
    found = [row for row in found if row[0]] or found
    terms = sorted({term for bad, _ in found for term in bad})
    terms = [t for t in terms if t != 'loss'] or terms  # it is their sum
    what = f'the loss {first_of(terms, _SHOWN)}' if terms else (
        'gradients, while all losses are finite')
    names = first_of([name for _, names in found for name in names], _SHOWN)
    raise FloatingPointError(
        f'Not finite in iteration {runner.iter + 1}: {what}. Images: {names}. '
        'The last checkpoint is good. Look at these images and their labels, '
        'or lower the learning rate.')


def check_finite_weights(model: nn.Module, iteration: int) -> None:
    """Raise a FloatingPointError that names weights that are not finite."""
    wrong = _not_finite(model.state_dict())
    if wrong:
        raise FloatingPointError(
            f'Weights are not finite after iteration {iteration}: '
            f'{first_of(wrong, 3)}. They are not saved; the last checkpoint '
            'is good. Lower the learning rate.')


def _not_finite(values: dict[str, Tensor]) -> list[str]:
    return [k for k, v in values.items() if not torch.isfinite(v).all()]


@HOOKS.register_module()
class IterationSeedHook(Hook):
    """Seeds every iteration by its number, for dropout and drop path, so that
    a resumed run draws what an uninterrupted one draws."""

    def __init__(self, seed: int, rank: int = 0):
        self.seed, self.rank = seed, rank

    def before_train_iter(self, runner):
        """Seed Python, NumPy and torch."""
        key = np.random.SeedSequence([self.seed, self.rank, runner.iter])
        words = [int(word) for word in key.generate_state(4)]
        random.seed(words[0])
        np.random.seed(words[1])
        torch.manual_seed(words[2] << 31 | words[3] >> 1)
