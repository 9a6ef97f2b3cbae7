"""Partially labelled datasets, their sampling and their transforms."""
from .array_cache import ArrayCache
from .checks import DataError
from .evaluation_sets import EvaluationSets
from .joint import JointDataset
from .loader import (InfiniteIndexSampler, build_train_loader, collate_samples,
                     start_worker)
from .partial_label import PartialLabelDataset
from .pipelines import (CollectImage, ColorJitter, CutOut, DiscSideFlip,
                        FormatPlanes, IndependentFlip, LabelBorder, LoadPlanes,
                        LoadRandomCrop, RandomGamma, RandomGaussianBlur,
                        RandomGrayscale, RotateFromList, find_disc_side,
                        write_disc_sides)

__all__ = [
    'ArrayCache', 'CollectImage', 'ColorJitter', 'CutOut', 'DataError',
    'DiscSideFlip', 'EvaluationSets', 'FormatPlanes', 'IndependentFlip',
    'InfiniteIndexSampler', 'JointDataset', 'LabelBorder', 'LoadPlanes',
    'LoadRandomCrop', 'PartialLabelDataset', 'RandomGamma',
    'RandomGaussianBlur', 'RandomGrayscale', 'RotateFromList',
    'build_train_loader', 'collate_samples', 'find_disc_side', 'start_worker',
    'write_disc_sides'
]
