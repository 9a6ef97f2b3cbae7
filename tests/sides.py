"""The sides of their kinks on which activations lie, noted and imposed.

The gradient of a ReLU or LeakyReLU jumps where its input is 0. Among millions
of inputs a few are so small that rounding in float32 decides on which side
they lie, and in a deep unit of a discriminator one of them changes gradient
norms by per cents. A float32 run can only be compared closely with a float64
one if both lie on the same sides.
"""
import torch
from torch import nn


class Sides:
    """Notes the sides in one run, and imposes them in another: how many inputs
    there were, how many would have lain on the other side, and the largest of
    those, relative to the largest input of the same layer.
    """

    def __init__(self):
        self.noted = []
        self.total = self.moved = 0
        self.largest = 0.0

    def note(self, model):
        """Let a network note its sides; run it before :meth:`impose`."""
        _replace(model, self._note)

    def impose(self, model):
        """Let a network of the same layout take the sides noted."""
        self._left = iter(self.noted)
        _replace(model, self._impose)

    def _note(self, x):
        self.noted.append(x.detach() > 0)
        return self.noted[-1]

    def _impose(self, x):
        side = next(self._left)
        wrong = (x.detach() > 0) != side
        self.total += x.numel()
        if wrong.any():
            self.moved += int(wrong.sum())
            size = x.detach().abs()
            largest = float(size[wrong].max() / size.max())
            self.largest = max(self.largest, largest)
        return side


class _Kink(nn.Module):

    def __init__(self, slope, choose):
        super().__init__()
        self.slope, self.choose = slope, choose

    def forward(self, x):
        return torch.where(self.choose(x), x, self.slope * x)


def _replace(module, choose):
    for name, child in module.named_children():
        if isinstance(child, (nn.ReLU, nn.LeakyReLU)):
            slope = getattr(child, 'negative_slope', 0.0)
            setattr(module, name, _Kink(slope, choose))
        else:
            _replace(child, choose)
