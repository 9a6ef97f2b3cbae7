"""What happens when a loss or a gradient is NaN or infinite."""
import torch
import torch.distributed as dist
from mmcv.runner import get_dist_info
from torch import Tensor, nn

from mbos.faults import first_of
from mbos.runtime.processes import Agreement

_SHOWN = 12


class FiniteGuard:
    """Looks at losses and gradients before every step of the optimizers.

    All processes see the same flags, so they act alike. ``stop`` ends the
    run: on CPU before the step, on GPUs one iteration later, as the host must
    not wait for the device; the weights in memory are broken by then, but
    none are saved, since every checkpoint is preceded by :meth:`settle`.
    ``skip`` leaves the step out, and therefore waits for the device.

    ``late`` is as of :class:`Agreement`.
    """

    def __init__(self,
                 on_nonfinite: str = 'stop',
                 max_skips: int = 10,
                 late: bool | None = None):
        if on_nonfinite not in ('stop', 'skip') or max_skips < 1:
            raise ValueError(
                f'on_nonfinite is {on_nonfinite!r} and max_skips {max_skips}, '
                "expected 'stop' or 'skip', and a number from 1 up.")
        self.skips = on_nonfinite == 'skip'
        self.max_skips = max_skips
        self.skipped_in_a_row = 0
        self.agreement = Agreement(False if self.skips else late)

    def allows_step(self, runner, gradients: dict[str, Tensor]) -> bool:
        """Judge the iteration that has just been computed, by its losses and
        by gradients, by name, the same in all processes.

        Raises:
            FloatingPointError: When stopping, or after too many skips. It
                names the terms, the iteration and the images.
        """
        losses = dict(runner.outputs['losses'], loss=runner.outputs['loss'])
        flag = _any_not_finite([*losses.values(), *gradients.values()])
        late = self.agreement.is_late(flag)
        evidence = (runner.iter + 1, losses, {} if late else gradients,
                    images_of(runner))
        found, evidence = self.agreement(flag, evidence)
        if found:
            return self._fault(runner, evidence)
        self.skipped_in_a_row = 0
        return True

    def settle(self, runner) -> None:
        """Make sure that the last iteration was sound.

        Raises:
            FloatingPointError: If it was not.
        """
        found, evidence = self.agreement.settle()
        if found:
            self._fault(runner, evidence)

    def _fault(self, runner, evidence) -> bool:
        summary = _summary(*evidence)
        if not self.skips:
            raise FloatingPointError(
                f'{summary} Nothing was saved since; the last checkpoint is '
                'good. Look at these images and their labels, lower the '
                'learning rate, or set optimizer_config.on_nonfinite='
                "'skip' to leave such iterations out.")
        self.skipped_in_a_row += 1
        if self.skipped_in_a_row > self.max_skips:
            raise FloatingPointError(
                f'{summary} This was iteration {self.skipped_in_a_row} in a '
                f'row, and optimizer_config.max_skips is {self.max_skips}: '
                'the weights themselves may be at fault. Lower the learning '
                'rate and go on from an earlier checkpoint.')
        runner.logger.warning(f'{summary} Step skipped.')
        return False


def _summary(iteration: int, losses: dict[str, Tensor],
             gradients: dict[str, Tensor], images: list[str]) -> str:
    """Names the terms and images of all processes, which all must call."""
    rows = [(_not_finite(losses), images)]
    if get_dist_info()[1] > 1:
        rows = [None] * get_dist_info()[1]
        dist.all_gather_object(rows, (_not_finite(losses), images))
    terms = sorted({term for row in rows for term in row[0]})
    terms = [t for t in terms if t != 'loss'] or terms  # it is their sum
    text = f'Not finite in iteration {iteration}: ' + (
        f'the loss {first_of(terms, _SHOWN)}.'
        if terms else 'gradients, while all losses are finite.')
    if _not_finite(gradients):
        text += f' Gradients of {first_of(_not_finite(gradients), 3)}.'
    named = [first_of(images, _SHOWN) for _, images in rows]
    if len(rows) > 1:
        named = [f'process {rank}: {n}' for rank, n in enumerate(named)]
    return f'{text} Images: {"; ".join(named)}.'


def images_of(runner) -> list[str]:
    """File names of the images of the running iteration, where known."""
    metas = getattr(runner, 'data_batch', {}).get('img_metas')
    return [
        meta['filename'] for part in getattr(metas, 'data', [])
        for meta in part
    ]


def check_finite_weights(model: nn.Module, iteration: int) -> None:
    """Refuse to save broken weights.

    Raises:
        FloatingPointError: If a weight or buffer is NaN or infinite.
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
