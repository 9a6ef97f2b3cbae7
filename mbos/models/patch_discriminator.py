"""The discriminator of one task's predictions (docs/method.md, section 6)."""
from itertools import pairwise

import torch.nn.functional as F
from mmcv.cnn import kaiming_init
from mmcv.runner import BaseModule
from mmseg.models.builder import HEADS
from torch import Tensor, nn
from torch.func import functional_call


@HEADS.register_module()
class PatchDiscriminator(BaseModule):
    """Distinguishes predictions on labelled datasets from others.

    4x4 convolutions of stride 2, LeakyReLU 0.2 between them, no norm. A
    verdict is about a patch of ``downscale * 2 ** num_convs`` pixels a side.

    The first convolution has ``channels`` channels; each but the last doubles
    them. Probabilities are first averaged over ``downscale`` pixels along a
    side. The defaults are as published.
    """

    def __init__(self,
                 in_channels: int,
                 channels: int = 64,
                 num_convs: int = 5,
                 downscale: int = 1,
                 init_cfg: dict | None = None):
        super().__init__(init_cfg)
        self.downscale = downscale
        self.patch_size = downscale * 2**num_convs
        hidden = [channels * 2**i for i in range(num_convs - 1)]
        self.convs = nn.ModuleList(
            nn.Conv2d(a, b, kernel_size=4, stride=2, padding=1)
            for a, b in pairwise([in_channels, *hidden, 1]))
        self.act = nn.LeakyReLU(0.2, inplace=True)  # of convolutions only

    def init_weights(self):
        """Kaiming normal over fan-out, with the gain of what follows."""
        super().init_weights()
        for conv in self.convs[:-1]:
            kaiming_init(conv, a=0.2, nonlinearity='leaky_relu')
        kaiming_init(self.convs[-1])

    def forward(self, prob: Tensor) -> Tensor:
        """Judge probabilities (N, C, H, W) patch by patch: logits (N, 1, H //
        p, W // p) for patches of p pixels, positive for *source*.
        """
        if min(prob.shape[-2:]) < self.patch_size:
            raise ValueError(
                f'The discriminators need images of at least {self.patch_size}'
                f' pixels a side, got {tuple(prob.shape[-2:])}: enlarge the '
                'crop size of the training pipeline.')
        x = prob
        if self.downscale > 1:
            x = F.avg_pool2d(x, self.downscale)
        for conv in self.convs[:-1]:
            x = self.act(conv(x))
        return self.convs[-1](x)


def fixed_verdicts(discriminator: nn.Module, prob: Tensor) -> Tensor:
    """Verdicts that have a gradient for the probabilities only."""
    weights = {n: p.detach() for n, p in discriminator.named_parameters()}
    return functional_call(discriminator, weights, (prob, ))
