"""Partially labelled datasets, their sampling and their transforms."""
from .array_cache import ArrayCache
from .checks import DataError
from .collate import collate_samples
from .colour_transforms import (ColorJitter, RandomGamma, RandomGaussianBlur,
                                RandomGrayscale)
from .crop_loading import LoadRandomCrop
from .disc_side import DiscSideFlip, find_disc_side, write_disc_sides
from .evaluation_sets import EvaluationSets
from .joint import JointDataset
from .label_io import read_labels, save_labels
from .loader import build_train_loader, start_worker
from .partial_label import PartialLabelDataset
from .sampler import InfiniteIndexSampler
from .transforms import (CollectImage, CutOut, FormatPlanes, IndependentFlip,
                         LabelBorder, LoadPlanes, RotateFromList)

__all__ = [
    'ArrayCache', 'CollectImage', 'ColorJitter', 'CutOut', 'DataError',
    'DiscSideFlip', 'EvaluationSets', 'FormatPlanes', 'IndependentFlip',
    'InfiniteIndexSampler', 'JointDataset', 'LabelBorder', 'LoadPlanes',
    'LoadRandomCrop', 'PartialLabelDataset', 'RandomGamma',
    'RandomGaussianBlur', 'RandomGrayscale', 'RotateFromList',
    'build_train_loader', 'collate_samples', 'find_disc_side', 'read_labels',
    'save_labels', 'start_worker', 'write_disc_sides'
]
