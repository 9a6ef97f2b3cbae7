"""What happens when a loss or a gradient is NaN or infinite."""
from collections.abc import Iterable

import torch
import torch.distributed as dist
from mmcv.runner import get_dist_info
from torch import Tensor, nn

from mbos.faults import first_of

PATIENCE = 20
"""int: Iterations on a GPU between two looks, for which the host waits."""
_SHOWN = 12


class FiniteGuard:
    """Ends a run, in all processes, when a loss or gradient is not finite.

    On CPU that is before the optimizers step. On GPUs it may be ``PATIENCE``
    iterations later; the weights in memory are broken by then, but none are
    saved, since every checkpoint is preceded by :meth:`settle`.
    """

    def __init__(self, patience: int | None = None):
        self.patience = patience
        self._unread: list[tuple] = []

    def look(self, runner, gradients: Iterable[Tensor]) -> None:
        """Look at the iteration that has just been computed; raises as
        :meth:`settle`."""
        losses = dict(runner.outputs['losses'], loss=runner.outputs['loss'])
        flag = _any_not_finite([*losses.values(), *gradients])
        self._unread.append((flag, runner.iter + 1, losses, images_of(runner)))
        patience = self.patience or (PATIENCE if flag.is_cuda else 1)
        if len(self._unread) >= patience:
            self.settle()

    def settle(self) -> None:
        """Make sure that all iterations so far were sound.

        Raises:
            FloatingPointError: In all processes; it names the terms, the
                iteration and the images.
        """
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
    """Refuse to save weights or buffers that are NaN or infinite.

    Raises:
        FloatingPointError: It names them.
    """
    wrong = _not_finite(model.state_dict())
    if wrong:
        raise FloatingPointError(
            f'Weights are not finite after iteration {iteration}: '
            f'{first_of(wrong, 3)}. They are not saved; the last checkpoint '
            'is good. Lower the learning rate.')


def _any_not_finite(values: list[Tensor]) -> Tensor:
    """1 or 0, on the values' device; no halt of the host."""
    seen = [e.float() for v in values for e in torch.aminmax(v.detach())]
    return (~torch.isfinite(torch.stack(seen))).any().float()


def _not_finite(values: dict[str, Tensor]) -> list[str]:
    return [k for k, v in values.items() if not torch.isfinite(v).all()]
