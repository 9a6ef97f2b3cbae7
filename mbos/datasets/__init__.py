"""Partially labelled datasets, their sampling and their transforms."""
from .checks import DataError
from .collate import collate_samples
from .colour_transforms import ColorJitter, RandomGaussianBlur, RandomGrayscale
from .disc_side import DiscSideFlip, find_disc_side, write_disc_sides
from .evaluation_sets import EvaluationSets
from .joint import JointDataset
from .label_io import read_labels, save_labels
from .loader import build_train_loader
from .partial_label import PartialLabelDataset
from .sampler import InfiniteIndexSampler
from .transforms import (CollectImage, CutOut, FormatPlanes, IndependentFlip,
                         LabelBorder, LoadPlanes, RotateFromList)

__all__ = [
    'CollectImage', 'ColorJitter', 'CutOut', 'DataError', 'DiscSideFlip',
    'EvaluationSets', 'FormatPlanes', 'IndependentFlip',
    'InfiniteIndexSampler', 'JointDataset', 'LabelBorder', 'LoadPlanes',
    'PartialLabelDataset', 'RandomGaussianBlur', 'RandomGrayscale',
    'RotateFromList', 'build_train_loader', 'collate_samples',
    'find_disc_side', 'read_labels', 'save_labels', 'write_disc_sides'
]
