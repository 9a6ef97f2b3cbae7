"""What happens when a loss or a gradient is NaN or infinite."""
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.distributed as dist
from mmcv.runner import get_dist_info
from torch import Tensor, nn

from mbos.faults import first_of
from mbos.runtime.agreement import Agreement

_SHOWN = 12


class FiniteGuard:
    """Looks at losses and gradients before every step of the optimizers.

    All values are reduced to one pair of flags on the device, and all
    processes see the same flags, so they act alike.

    ``stop`` ends the run. On CPU this is before the step. On GPUs the host
    learns it one iteration later, as it must not wait for the device; the
    weights in memory are broken by then, but none are saved, since every
    checkpoint is preceded by :meth:`settle`. ``skip`` leaves the step out, as
    if the iteration had not been, and therefore waits for the device.

    Args:
        on_nonfinite (str): ``stop`` or ``skip``.
        max_skips (int): How many iterations in a row may be skipped.
        late (bool, optional): See :class:`Agreement`. Default: on GPUs when
            stopping.
    """

    def __init__(self,
                 on_nonfinite: str = 'stop',
                 max_skips: int = 10,
                 late: bool | None = None):
        if on_nonfinite not in ('stop', 'skip'):
            raise ValueError(f'on_nonfinite is {on_nonfinite!r}: use '
                             "'stop' or 'skip'.")
        if max_skips < 1:
            raise ValueError(f'max_skips is {max_skips}, expected 1 or more.')
        self.skips = on_nonfinite == 'skip'
        self.max_skips = max_skips
        self.skipped_in_a_row = 0
        self.agreement = Agreement(False if self.skips else late)

    def allows_step(self, runner, gradients: dict[str, Tensor]) -> bool:
        """Judge the iteration that has just been computed.

        Args:
            runner (BaseRunner): With the loss and its terms in ``outputs``,
                and the images in ``data_batch``.
            gradients (dict[str, Tensor]): The gradients to look at by name,
                the same in all processes.

        Raises:
            FloatingPointError: When stopping, or after too many skips. It
                names the terms, the iteration and the images.
        """
        losses = dict(runner.outputs['losses'], loss=runner.outputs['loss'])
        flags = torch.stack([
            _any_not_finite(list(losses.values())),
            _any_not_finite([*gradients.values()] or [losses['loss']])
        ])
        evidence = _Evidence(runner.iter + 1, losses,
                             {} if self._is_late(flags) else gradients,
                             images_of(runner))
        found, evidence = self.agreement(flags, evidence)
        if not found or not any(found):
            self.skipped_in_a_row = 0
            return True
        return self._fault(runner, found, evidence)

    def settle(self, runner) -> None:
        """Make sure that the last iteration was sound.

        Raises:
            FloatingPointError: If it was not.
        """
        found, evidence = self.agreement.settle()
        if found and any(found):
            self._fault(runner, found, evidence)

    def _is_late(self, flags: Tensor) -> bool:
        late = self.agreement.late
        return flags.is_cuda if late is None else late

    def _fault(self, runner, found, evidence) -> bool:
        summary = evidence.summary(gradients_are_bad=bool(found[1]))
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


@dataclass
class _Evidence:
    """What is known of an iteration."""

    iteration: int
    losses: dict[str, Tensor]
    gradients: dict[str, Tensor]
    images: list[str]

    def summary(self, gradients_are_bad: bool) -> str:
        """Sentences on all processes' terms and images; all must call."""
        terms = [k for k, v in self.losses.items() if not _is_finite(v)]
        if len(terms) > 1 and 'loss' in terms:
            terms.remove('loss')  # it is the sum of the others
        rows = [(terms, self.images)]
        if get_dist_info()[1] > 1:
            rows = [None] * get_dist_info()[1]
            dist.all_gather_object(rows, (terms, self.images))
        named = sorted({term for row in rows for term in row[0]})
        parts = [f'Not finite in iteration {self.iteration}:']
        parts.append(f'the loss {first_of(named, _SHOWN)}.'
                     if named else 'gradients, while all losses are finite.')
        if gradients_are_bad and self.gradients:
            bad = [k for k, v in self.gradients.items() if not _is_finite(v)]
            parts.append(f'Gradients that are not: {first_of(bad, 3)}.')
        parts.append('Images: ' + '; '.join(
            (f'process {rank}: ' if len(rows) > 1 else '') +
            first_of(images, _SHOWN)
            for rank, (_, images) in enumerate(rows)) + '.')
        return ' '.join(parts)


def images_of(runner) -> list[str]:
    """File names of the images of the running iteration, where known."""
    batch = getattr(runner, 'data_batch', None)
    metas = batch.get('img_metas') if isinstance(batch, dict) else None
    metas = getattr(metas, 'data', metas) or []
    while metas and isinstance(metas[0], (list, tuple)):
        metas = [meta for part in metas for meta in part]
    return [str(meta.get('filename', 'unnamed')) for meta in metas]


def check_finite_weights(model: nn.Module, iteration: int) -> None:
    """Refuse to save broken weights.

    Raises:
        FloatingPointError: If a weight or buffer is NaN or infinite.
    """
    state = {
        name: value
        for name, value in model.state_dict().items()
        if value.is_floating_point()
    }
    if _any_not_finite(list(state.values())):
        bad = [name for name, value in state.items() if not _is_finite(value)]
        raise FloatingPointError(
            f'Weights are not finite after iteration {iteration}: '
            f'{first_of(bad, 3)}. They are not saved; the last checkpoint is '
            'good. Lower the learning rate.')


def _any_not_finite(values: Sequence[Tensor]) -> Tensor:
    """1 or 0, float32, on the values' device; no halt of the host."""
    values = [value.detach() for value in values]
    if values[0].is_cuda:  # one fused pass; the largest magnitude, NaN wins
        seen = nn.utils.get_total_norm(values, norm_type=float('inf'))
    else:  # there that takes 40 times as long as this, where NaN wins, too
        seen = torch.stack(
            [e.float() for value in values for e in torch.aminmax(value)])
    return (~torch.isfinite(seen)).any().float()


def _is_finite(value) -> bool:
    return bool(torch.isfinite(torch.as_tensor(value)).all())
