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
from .optimizers import as_dict

PATIENCE = 20
"""int: Iterations on a GPU between two looks, for which the host waits."""
_SHOWN = 12


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
    through it. With ``accumulate=N`` all optimizers step, with the mean of the
    gradients gathered since, after every iteration whose number N divides, and
    after the last one. ``grad_clip`` has arguments of
    ``torch.nn.utils.clip_grad_norm_``, applied to each optimizer's parameters
    on their own.

    With ``loss_scaling``, as fp16 needs it, gradients that overflow are not a
    fault: the scaler skips that step and lowers the scale.
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
        gradients = [p.grad for p in runner.model.parameters()]
        self.guard.look(runner, [] if self.scaler.is_enabled() else gradients)
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


class FiniteGuard:
    """Ends a run, in all processes, when a loss or gradient is not finite.

    On CPU that is before the optimizers step. On GPUs it may be ``PATIENCE``
    iterations later; the weights in memory are broken by then, but none are
    saved, since every checkpoint is preceded by :meth:`settle`.
    """

    def __init__(self, patience: int | None = None):
        self.patience = patience
        self._unread: list[tuple] = []

    def look(self, runner, gradients: list[Tensor | None]) -> None:
        """Look at the iteration that has just been computed; raises as
        :meth:`settle`."""
        losses = dict(runner.outputs['losses'], loss=runner.outputs['loss'])
        values = [*losses.values(), *(g for g in gradients if g is not None)]
        # without a halt of the host
        ends = [e.float() for v in values for e in torch.aminmax(v.detach())]
        flag = (~torch.isfinite(torch.stack(ends))).any().float()
        self._unread.append((flag, runner.iter + 1, losses, images_of(runner)))
        patience = self.patience or (PATIENCE if flag.is_cuda else 1)
        if len(self._unread) >= patience:
            self.settle()

    def settle(self) -> None:
        """Make sure that all iterations so far were sound, or raise a
        FloatingPointError that names terms, iteration and images."""
        unread, self._unread = self._unread, []
        if not unread:
            return
        flags = torch.stack([flag for flag, *_ in unread])
        if get_dist_info()[1] > 1:
            dist.all_reduce(flags, op=dist.ReduceOp.MAX)
        for is_bad, (_, *evidence) in zip(flags.tolist(), unread):
            if is_bad:
                raise FloatingPointError(
                    f'{_summary(*evidence)} Nothing was saved since; the last '
                    'checkpoint is good. Look at these images and their '
                    'labels, or lower the learning rate.')


def _summary(iteration: int, losses: dict[str, Tensor],
             images: list[str]) -> str:
    """Names terms and images of the processes at fault; all must call."""
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
    return f'Not finite in iteration {iteration}: {what}. Images: {names}.'


def images_of(runner) -> list[str]:
    """File names of the images of the running iteration, where known."""
    metas = getattr(runner, 'data_batch', {}).get('img_metas')
    batches = getattr(metas, 'data', [])
    return [meta['filename'] for batch in batches for meta in batch]


def check_finite_weights(model: nn.Module, iteration: int) -> None:
    """Refuse to save weights or buffers that are NaN or infinite, by a
    FloatingPointError that names them."""
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
        self.seed = seed
        self.rank = rank

    def before_train_iter(self, runner):
        """Seed Python, NumPy and torch."""
        key = np.random.SeedSequence([self.seed, self.rank, runner.iter])
        words = [int(word) for word in key.generate_state(4)]
        random.seed(words[0])
        np.random.seed(words[1])
        torch.manual_seed(words[2] << 31 | words[3] >> 1)
