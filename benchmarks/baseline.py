"""The published release's schedule on our networks, to be compared with.

Only the order and the amount of work are the release's: every image has a full
forward pass of its own with the outputs of all tasks and both heads, attention
is computed pair by pair with its scores written out, all logits are resized,
labels become full-size float targets, the graphs of all images live until one
backward pass, and the discriminators then run on the detached predictions.
Decoders are separate convolutions, not the release's grouped ones, so an
output that no loss reads costs no backward pass; both favour the baseline.
Losses and gradients are those of the library (the tests compare them).
"""
from collections.abc import Callable

import torch
import torch.nn.functional as F
from mmseg.models.decode_heads import FCNHead, UPerHead
from torch import Tensor, nn

from mbos.models.cross_task_attention import merge_windows, position_bias
from mbos.models.losses import adversarial_loss
from mbos.models.supervision import FOOL, SOURCE, SUPERVISED

HEAD_CLASSES = dict(decode=UPerHead, aux=FCNHead)


class ReleaseSchedule:
    """Runs a segmentor as the release does."""

    def __init__(self, model: nn.Module, optimizers: dict[str, object]):
        self.model = model
        self.optimizers = optimizers

    def step(self, batch: dict) -> dict[str, Tensor]:
        """One iteration: the generator's update, then the discriminators'."""
        others = dict(self.optimizers)
        generator = others.pop('generator')
        for optimizer in self.optimizers.values():
            optimizer.zero_grad(set_to_none=True)
        losses = self.gradients(batch, after_generator=generator.step)
        for optimizer in others.values():
            optimizer.step()
        return losses

    def gradients(
            self,
            batch: dict,
            after_generator: Callable = lambda: None) -> dict[str, Tensor]:
        """Losses and gradients of a batch."""
        model = self.model
        planes, terms = model.plan_batch(batch['img_metas'], batch['labels'],
                                         batch['img'].dtype)
        logits = [self.logits(image[None]) for image in batch['img']]

        def losses_of(chosen):
            return {
                f'{prefix}.{term.name}': self._loss(prefix, term, logits,
                                                    planes)
                for prefix in model.dense_heads
                for term in chosen
            }

        of_generator = (SUPERVISED, FOOL)
        losses = losses_of([t for t in terms if t.role in of_generator])
        sum(losses.values()).backward()
        after_generator()
        verdicts = losses_of([t for t in terms if t.role not in of_generator])
        if verdicts:
            sum(verdicts.values()).backward()
        return {k: v.detach() for k, v in {**losses, **verdicts}.items()}

    def logits(self, image: Tensor) -> dict[str, dict[str, Tensor]]:
        """Full-size logits of all tasks by head and task."""
        features = self.model.backbone(image)
        return {
            prefix: self._head_logits(prefix, head, features, image.shape[2:])
            for prefix, head in self.model.dense_heads.items()
        }

    def predict(self, image: Tensor) -> Tensor:
        """Probabilities of all tasks, without the auxiliary head."""
        features = self.model.backbone(image)
        logits = self._head_logits('decode', self.model.decode_head, features,
                                   image.shape[2:])
        return torch.cat(list(logits.values()), dim=1).sigmoid()

    def _head_logits(self, prefix, head, features, size):
        maps = {}
        for task, part in head.heads.items():
            maps[task] = HEAD_CLASSES[prefix]._forward_feature(part, features)
            if part.dropout is not None:
                maps[task] = part.dropout(maps[task])
        xta = head.cross_task_attention
        if xta is not None and len(maps) > 1:
            maps = {task: attend_to_others(xta, task, maps) for task in maps}
        return {
            task:
            F.interpolate(
                head.heads[task].conv_seg(x),
                size,
                mode='bilinear',
                align_corners=head.align_corners)
            for task, x in maps.items()
        }

    def _loss(self, prefix, term, logits, planes):
        """A term of the loss, image by image."""
        loss, total = self.model.dense_heads[prefix].loss_decode, 0
        for row, weight in zip(term.rows, term.weights):
            x = logits[row][prefix][term.task]
            if term.role == SUPERVISED:
                task = self.model.tasks[term.task]
                value = loss.loss_weight * dice_with_full_targets(
                    x, planes[term.task][row], task, loss)
            else:
                value = self._adversarial(prefix, term, x)
            total = total + weight * value
        return total

    def _adversarial(self, prefix, term, logits):
        """The loss of the generator, or of a discriminator; each passes
        gradients to itself only."""
        model, fools = self.model, term.role == FOOL
        discriminator = (model.discriminators if prefix == 'decode' else
                         model.auxiliary_discriminators)[term.task]
        discriminator.requires_grad_(not fools)
        x = logits if fools else logits.detach()
        verdict = discriminator(x.sigmoid())
        discriminator.requires_grad_(True)
        loss = adversarial_loss(verdict, fools or term.role == SOURCE).sum()
        return loss * (model.adversarial_weights[prefix] if fools else 1)


def dice_with_full_targets(logits: Tensor, plane: Tensor, task,
                           loss) -> Tensor:
    """Dice of one image, class by class, against float planes of full size."""
    if loss.mode != 'dice':
        raise ValueError('The baseline has the dice loss only.')
    prob = logits.sigmoid()
    targets, valid = task.encode(plane[None], loss.ignore_index)
    targets, valid = targets.float(), valid.float().expand_as(targets)
    values = []
    for c in range(prob.shape[1]):
        p = (prob[:, c] * valid[:, c]).reshape(1, -1)
        y = (targets[:, c] * valid[:, c]).reshape(1, -1)
        overlap = torch.sum(torch.mul(p, y), dim=1)
        total = torch.sum(p.pow(2) + y.pow(2), dim=1)
        values.append(1 - (2 * overlap + loss.smooth) / (total + loss.smooth))
    return torch.stack(values).mean() * (valid.sum() > 0)


def attend_to_others(xta: nn.Module, task: str, maps: dict[str,
                                                           Tensor]) -> Tensor:
    """Cross-task attention of one task, pair by pair."""
    answers: list[Tensor] = []
    for other in (name for name in maps if name != task):
        block = xta.block if xta.share_block else xta.blocks[
            f'{task}_from_{other}']
        answers.append(attend(block, maps[task], maps[other]))
    return maps[task] + xta.fuse(torch.cat(answers, dim=1))


def attend(block: nn.Module, x: Tensor, other: Tensor) -> Tensor:
    """One ordered pair: norms, queries, keys, values, scores, feed-forward."""
    query = block.queries(block.windows(x))
    key, value = block.keys_values(block.windows(other))
    scores = query * query.shape[-1]**-0.5 @ key.transpose(-2, -1)
    scores = scores + position_bias(block)[None]
    out = (scores.softmax(dim=-1) @ value).transpose(1, 2).flatten(2)
    x = x + merge_windows(block.proj(out), block.window_size, x.shape[-2:])
    x = x.permute(0, 2, 3, 1)
    x = block.ffn(block.norm2(x), identity=x)
    return x.permute(0, 3, 1, 2).contiguous()
