"""Hooks that step the optimizers, seed iterations and log the losses."""
import random
from typing import Iterable, Optional

import numpy as np
import torch
import torch.distributed as dist
from mmcv.runner import HOOKS, Hook, allreduce_grads, get_dist_info
from torch import Tensor, nn

from .optimizers import as_dict


def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Average gradients over the processes.

    A parameter that got a gradient in some processes only counts as zero in
    the others; one that got none anywhere keeps none, so that its optimizer
    leaves it alone.

    Args:
        parameters (Iterable[nn.Parameter]): In the same order everywhere.
    """
    if get_dist_info()[1] == 1:
        return
    parameters = [p for p in parameters if p.requires_grad]
    present = torch.tensor([p.grad is not None for p in parameters],
                           dtype=torch.int32,
                           device=parameters[0].device)
    dist.all_reduce(present, op=dist.ReduceOp.MAX)
    for parameter, is_present in zip(parameters, present.tolist()):
        if is_present and parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
    allreduce_grads(parameters, bucket_size_mb=64)


@HOOKS.register_module()
class GradientStepHook(Hook):
    """Owns backward passes, gradient exchange and the optimizers' steps.

    The model calls :meth:`backward` once for each group of images that goes
    through it, so gradients gather over the groups; after the iteration they
    are averaged over the processes, once, and every optimizer steps.

    Args:
        grad_clip (dict, optional): Arguments of
            ``torch.nn.utils.clip_grad_norm_``, applied to each optimizer's
            parameters on their own. Default: None.
        loss_scaling (bool): Whether to scale losses, as fp16 needs.
            Default: False.
    """

    SCALE = 'loss_scale'

    def __init__(self,
                 grad_clip: Optional[dict] = None,
                 loss_scaling: bool = False):
        self.grad_clip = grad_clip
        device = 'cuda' if torch.cuda.is_available() else 'cpu'
        self.scaler = torch.amp.GradScaler(device, enabled=loss_scaling)

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of a loss."""
        self.scaler.scale(loss).backward()

    def before_run(self, runner):
        """Go on with the scale of a resumed run."""
        state = ((runner.meta or {}).get('hook_msgs') or {}).get(self.SCALE)
        if state and self.scaler.is_enabled():
            self.scaler.load_state_dict(state)

    def before_train_iter(self, runner):
        """Forget the gradients of the last iteration."""
        for optimizer in as_dict(runner.optimizer).values():
            optimizer.zero_grad(set_to_none=True)

    def after_train_iter(self, runner):
        """Exchange gradients and step."""
        average_gradients(runner.model.parameters())
        for optimizer in as_dict(runner.optimizer).values():
            parameters = [
                p for g in optimizer.param_groups for p in g['params']
            ]
            if all(p.grad is None for p in parameters):
                continue  # the scaler refuses to step without gradients
            if self.grad_clip is not None:
                self.scaler.unscale_(optimizer)
                nn.utils.clip_grad_norm_(parameters, **self.grad_clip)
            self.scaler.step(optimizer)
        self.scaler.update()
        if self.scaler.is_enabled():  # checkpoints hold the meta information
            messages = runner.meta.setdefault('hook_msgs', {})
            messages[self.SCALE] = self.scaler.state_dict()


@HOOKS.register_module()
class IterationSeedHook(Hook):
    """Seeds every iteration by its number, for dropout and drop path.

    So a resumed run draws what an uninterrupted one draws, an evaluation in
    between changes nothing, and every process draws its own.

    Args:
        seed (int): Seed of the run.
        rank (int): Number of this process. Default: 0.
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

    Args:
        interval (int): Iterations between two readings; the loggers' own.

    Raises:
        FloatingPointError: At a reading, if a loss is NaN or infinite.
    """

    def __init__(self, interval: int):
        self.interval = interval
        self._clear()

    def _clear(self):
        self.sums, self.count = {}, 0

    def after_train_iter(self, runner):
        """Gather the values, and pass their means on."""
        values = dict(runner.outputs['losses'], loss=runner.outputs['loss'])
        for name, value in values.items():
            self.sums[name] = self.sums.get(name, 0) + value.detach()
        self.count += 1
        if not (self.every_n_iters(runner, self.interval)
                or self.is_last_iter(runner)):
            return
        means = self._means()
        wrong = [k for k, v in means.items() if v - v != 0]
        if wrong:
            raise FloatingPointError(
                f'Not finite within the last {self.count} iterations before '
                f'iteration {runner.iter + 1}: {", ".join(wrong)}. Lower the '
                'learning rate, or look for broken images or labels.')
        for name in means:  # the loggers average over what is in the history
            runner.log_buffer.val_history.pop(name, None)
            runner.log_buffer.n_history.pop(name, None)
        runner.log_buffer.update(means, self.count)
        self._clear()

    def _means(self):
        names = sorted(self.sums)
        stacked = torch.stack([self.sums[n].float() for n in names])
        stacked = stacked / self.count
        world = get_dist_info()[1]
        if world > 1:
            dist.all_reduce(stacked)
            stacked = stacked / world
        return dict(zip(names, stacked.tolist()))
