"""Transforms: loading, geometry, colour and formatting."""
from .colour import (ColorJitter, RandomGamma, RandomGaussianBlur,
                     RandomGrayscale)
from .disc_side import DiscSideFlip, find_disc_side, write_disc_sides
from .loading import LoadPhotograph, LoadRandomCrop, with_photographs
from .transforms import (CollectImage, CutOut, FormatPlanes, IndependentFlip,
                         LabelBorder, LoadPlanes, RotateFromList)

__all__ = [
    'CollectImage', 'ColorJitter', 'CutOut', 'DiscSideFlip', 'FormatPlanes',
    'IndependentFlip', 'LabelBorder', 'LoadPhotograph', 'LoadPlanes',
    'LoadRandomCrop', 'RandomGamma', 'RandomGaussianBlur', 'RandomGrayscale',
    'RotateFromList', 'find_disc_side', 'with_photographs', 'write_disc_sides'
]
