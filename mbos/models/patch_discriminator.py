"""The discriminator of one task's predictions (METHOD, section 6)."""
import torch
from mmcv.cnn import kaiming_init
from mmcv.runner import BaseModule
from mmseg.models.builder import HEADS
from torch import Tensor, nn


@HEADS.register_module()
class PatchDiscriminator(BaseModule):
    """Tells predictions on labelled datasets from those on unlabelled ones.

    Five 4x4 convolutions of stride 2, LeakyReLU 0.2 between them, no norm.

    Args:
        in_channels (int): Channels of the task's probabilities.
        channels (int): Width of the first convolution; it doubles three
            times. Default: 64.
        init_cfg (dict, optional): mmcv's initialisation config.
    """

    NUM_CONVS = 5
    MIN_SIZE = 2**NUM_CONVS

    def __init__(self, in_channels: int, channels: int = 64, init_cfg=None):
        super().__init__(init_cfg)
        widths = [in_channels] + [channels * 2**i for i in range(4)] + [1]
        self.convs = nn.ModuleList(
            nn.Conv2d(a, b, kernel_size=4, stride=2, padding=1)
            for a, b in zip(widths[:-1], widths[1:]))
        self.act = nn.LeakyReLU(0.2)

    def init_weights(self):
        """Kaiming normal over fan-out, with the gain of what follows."""
        super().init_weights()
        for conv in self.convs[:-1]:
            kaiming_init(conv, a=0.2, nonlinearity='leaky_relu')
        kaiming_init(self.convs[-1])

    def forward(self, prob: Tensor) -> Tensor:
        """Judge probabilities patch by patch.

        Args:
            prob (Tensor): Probabilities of shape (N, C, H, W).

        Returns:
            Tensor: Logits of shape (N, 1, H // 32, W // 32), positive for
            *source*.

        Raises:
            ValueError: If an image is smaller than 32 pixels.
        """
        if min(prob.shape[-2:]) < self.MIN_SIZE:
            raise ValueError(
                f'The discriminators need images of at least {self.MIN_SIZE} '
                f'pixels a side, got {tuple(prob.shape[-2:])}: enlarge the '
                'crop size of the training pipeline.')
        x = prob
        for conv in self.convs[:-1]:
            x = self.act(conv(x))
        return self.convs[-1](x)


class frozen:
    """Context in which modules pass gradients on but collect none.

    Args:
        module (nn.Module): What to freeze while the forward pass runs.
    """

    def __init__(self, module: nn.Module):
        self.parameters = [p for p in module.parameters() if p.requires_grad]

    def __enter__(self):
        for parameter in self.parameters:
            parameter.requires_grad_(False)

    def __exit__(self, *exc):
        for parameter in self.parameters:
            parameter.requires_grad_(True)


def verdict_accuracy(logits: Tensor, is_source: bool) -> Tensor:
    """Share of patches judged rightly, per image: shape (N, )."""
    right = (logits > 0) if is_source else (logits <= 0)
    return right.flatten(1).to(torch.float32).mean(-1)
