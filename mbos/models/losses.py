"""Binary dice and cross entropy of sigmoid channels (docs/method.md, section
3).
"""
import torch
import torch.nn.functional as F
from mmseg.models.builder import LOSSES
from torch import Tensor, nn

from mbos.tasks import IGNORE_INDEX, Task


def at_least_float32(x: Tensor) -> Tensor:
    """Turn half precision into float32 and leave float64 as it is."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def binary_dice_loss(logits: Tensor,
                     targets: Tensor,
                     valid: Tensor,
                     smooth: float = 1e-5) -> Tensor:
    """Soft dice loss of every image, with squared terms in the denominator.

    ``1 - (2 sum(p y) + smooth) / (sum(p^2) + sum(y^2) + smooth)`` per channel,
    over its valid pixels only, then the mean over the channels that have any.

    Logits, and boolean targets and validity, are of shape (N, C, H, W), the
    result (N, ). Images without a valid pixel get 0.
    """
    prob = logits.sigmoid() * valid
    targets = (targets & valid).to(prob.dtype)
    overlap = (prob * targets).flatten(2).sum(-1)
    total = prob.square().flatten(2).sum(-1) + targets.flatten(2).sum(-1)
    loss = 1 - (2 * overlap + smooth) / (total + smooth)
    return mean_of_channels(loss, has_valid_pixel(valid))


def binary_cross_entropy(logits: Tensor, targets: Tensor,
                         valid: Tensor) -> Tensor:
    """Binary cross entropy of every image.

    The mean over the valid pixels of each channel, then over the channels
    that have any. Shapes are those of :func:`binary_dice_loss`.
    """
    loss = F.binary_cross_entropy_with_logits(
        logits, targets.to(logits.dtype), reduction='none')
    pixels = valid.flatten(2).sum(-1)
    loss = (loss * valid).flatten(2).sum(-1) / pixels.clamp(min=1)
    return mean_of_channels(loss, (pixels > 0).to(loss.dtype))


def has_valid_pixel(valid: Tensor) -> Tensor:
    """1.0 for every plane with a valid pixel, else 0.0: (..., H, W) to (...).
    """
    return valid.flatten(-2).any(-1).float()


def mean_of_channels(values: Tensor, counts: Tensor) -> Tensor:
    """Mean of values (N, C) over the channels that count, 0 where none does.
    """
    return (values * counts).sum(dim=1) / counts.sum(dim=1).clamp(min=1)


@LOSSES.register_module()
class BinaryLoss(nn.Module):
    """Dice loss, cross entropy or their sum, on the channels of one task.

    ``smooth`` is that of the dice loss, ``ignore_index`` the label value that
    takes no part; None counts such pixels as background, as published.
    """

    MODES = ('dice', 'ce', 'ce_dice')

    def __init__(self,
                 mode: str = 'dice',
                 smooth: float = 1e-5,
                 loss_weight: float = 1.0,
                 ignore_index: int | None = IGNORE_INDEX):
        super().__init__()
        if mode not in self.MODES:
            raise ValueError(f'Unknown loss mode {mode!r}: use one of '
                             f'{", ".join(self.MODES)}.')
        self.mode = mode
        self.smooth = smooth
        self.loss_weight = loss_weight
        self.ignore_index = ignore_index

    def counts(self, labels: Tensor) -> Tensor:
        """Which images count in the mean over images: 1.0 or 0.0 for each of
        the label planes (N, H, W).
        """
        if self.ignore_index is None:
            return labels.new_ones(len(labels), dtype=torch.float32)
        return has_valid_pixel(labels != self.ignore_index)

    def forward(self,
                logits: Tensor,
                labels: Tensor,
                task: Task,
                known: Tensor | None = None) -> Tensor:
        """The loss of every image, (N, ), times ``loss_weight``.

        Logits are of shape (N, C, H, W), label planes (N, H, W); ``known`` is
        which classes each plane labels, boolean, (N, C), or None for all.
        """
        logits = at_least_float32(logits)
        targets, valid = task.encode(labels, self.ignore_index, known)
        loss = 0
        if 'dice' in self.mode:
            loss = loss + binary_dice_loss(logits, targets, valid, self.smooth)
        if 'ce' in self.mode.split('_'):
            loss = loss + binary_cross_entropy(logits, targets, valid)
        return self.loss_weight * loss


def adversarial_loss(logits: Tensor, target_is_source: bool) -> Tensor:
    """Binary cross entropy of discriminator logits (N, 1, h, w) against one
    verdict: the mean over the patches of every image, (N, ).
    """
    logits = at_least_float32(logits)
    # -log sigmoid(x) = softplus(-x); -log(1 - sigmoid(x)) = softplus(x)
    loss = F.softplus(-logits if target_is_source else logits)
    return loss.flatten(1).mean(-1)
