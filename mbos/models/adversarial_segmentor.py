"""Stage 2: adversarial retraining with pseudo labels (docs/method.md, section
6).
"""
from collections.abc import Sequence
from functools import partial

import torch
from mmseg.models.builder import HEADS, SEGMENTORS
from torch import Tensor, nn

from mbos.tasks import TaskLike
from .losses import adversarial_loss, at_least_float32
from .multi_task_segmentor import ByTask, MultiTaskSegmentor, pick
from .patch_discriminator import fixed_verdicts
from .recomputation import maybe_recomputed
from .supervision import (FOOL, SOURCE, SUPERVISED, Term, adversarial_terms,
                          pseudo_terms, truth_terms)

DISCRIMINATORS = ('discriminators.', 'auxiliary_discriminators.')
"""tuple[str]: How the weights begin that only training uses."""


@SEGMENTORS.register_module()
class AdversarialSegmentor(MultiTaskSegmentor):
    """The multi-task network with discriminators and pseudo labels.

    Per task one discriminator judges the decoder's output and one the
    auxiliary head's. Predictions on datasets that label the task are the
    source, those on the others the target. Classes that no dataset labels
    are hidden from the discriminators.

    Generator and discriminators train on one sum of losses: the generator's
    terms have no gradient for the discriminators, and theirs none for the
    predictions, so one backward pass gives both their gradients.

    ``discriminator`` is their config without ``in_channels``; None leaves the
    adversarial terms out. ``adversarial_weights`` are of these terms per head,
    ``decode`` and ``aux``, by default 0.1 and 0.02; ``pseudo_weight`` of the
    pseudo-label terms, which the planes' own weights multiply.
    """

    stage = 'adversarial'

    def __init__(self,
                 tasks: Sequence[TaskLike],
                 discriminator: dict | None = None,
                 adversarial_weights: dict[str, float] | None = None,
                 pseudo_weight: float = 0.05,
                 **kwargs):
        super().__init__(tasks=tasks, **kwargs)
        default = dict(decode=0.1, aux=0.02)
        self.adversarial_weights = default | dict(adversarial_weights or {})
        self.pseudo_weight = pseudo_weight
        self.discriminators = self._build_discriminators(discriminator)
        self.auxiliary_discriminators = self._build_discriminators(
            discriminator if self.with_auxiliary_head else None)

    def _build_discriminators(self, cfg: dict | None) -> nn.ModuleDict:
        return nn.ModuleDict({
            name: HEADS.build(dict(cfg, in_channels=task.num_classes))
            for name, task in self.tasks.items() if cfg is not None
        })  # yapf: disable

    def init_weights(self):
        """Initialise generator and discriminators."""
        super().init_weights()
        for discriminator in (*self.discriminators.values(),
                              *self.auxiliary_discriminators.values()):
            discriminator.init_weights()

    def plan(self, img_metas: list[dict], counts: ByTask) -> list[Term]:
        """Ground truth, pseudo-label and adversarial terms of a batch."""
        tasks = list(self.tasks)
        terms = truth_terms(img_metas, tasks, counts)
        terms += pseudo_terms(img_metas, tasks, counts, self.pseudo_weight)
        if self.discriminators:
            like = next(iter(counts.values()))
            terms += adversarial_terms(img_metas, tasks, like)
        return terms

    def head_losses(self, prefix: str, logits: ByTask, rows: dict[str,
                                                                  list[int]],
                    labels: ByTask, terms: list[Term]) -> dict[str, Tensor]:
        """Supervised and adversarial values of one head."""
        values = super().head_losses(prefix, logits, rows, labels, terms)
        discriminators = (
            self.discriminators
            if prefix == 'decode' else self.auxiliary_discriminators)
        game_terms = [term for term in terms if term.role != SUPERVISED]
        for task in logits:
            game = [term for term in game_terms if term.task == task]
            if not game:
                continue
            prob = at_least_float32(logits[task]).sigmoid()
            learnt = game[0].known(self.tasks[task], prob.device)
            if learnt is not None:  # the same for all images of a run
                prob = prob * learnt[0, :, None, None]
            # source and target are alike, so half precision would be noise
            weight = self.adversarial_weights[prefix]
            with torch.autocast(prob.device.type, enabled=False):
                values.update(
                    self._game_losses(discriminators[task], weight, prob,
                                      rows[task], game))
        return values

    def _game_losses(self, discriminator: nn.Module, weight: float,
                     prob: Tensor, have: list[int],
                     terms: list[Term]) -> dict[str, Tensor]:
        """Values of one task's adversarial terms, and the verdicts' accuracy,
        from probabilities (n, C, H, W) of the images ``have``.
        """
        fooling, judged = (
            sorted({r for t in terms if (t.role == FOOL) == fools
                    for r in t.rows})
            for fools in (True, False))  # yapf: disable
        for_generator = self._verdicts(
            partial(fixed_verdicts, discriminator), pick(prob, have, fooling))
        for_discriminator = self._verdicts(discriminator,
                                           pick(prob, have, judged).detach())
        values = {}
        for term in terms:
            if term.role == FOOL:
                verdict = pick(for_generator, fooling, term.rows)
                per_image = weight * adversarial_loss(verdict, True)
            else:
                is_source = term.role == SOURCE
                verdict = pick(for_discriminator, judged, term.rows)
                per_image = adversarial_loss(verdict, is_source)
                # the terms' weights add up to 0.5 over each side
                right = (verdict > 0) == is_source
                accuracy = right.flatten(1).to(torch.float32).mean(-1)
                key = f'disc_acc_{term.role}.{term.task}'
                values[key] = values.get(
                    key, 0) + (2 * accuracy * term.weights).sum()
            values[term.name] = (per_image * term.weights).sum()
        return values

    def _verdicts(self, judge, prob: Tensor) -> Tensor:
        """What a discriminator says of images; there may be none."""
        if not len(prob):
            return prob
        return maybe_recomputed(self.low_memory, judge, prob)
