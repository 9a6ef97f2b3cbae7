"""Partially labelled datasets, their sampling and their transforms."""
from .array_cache import ArrayCache
from .checks import DataError
from .evaluation_sets import EvaluationSets
from .joint import JointDataset
from .loader import InfiniteIndexSampler, build_train_loader, collate_samples
from .partial_label import PartialLabelDataset
from .pipelines import *  # noqa: F403
from .pipelines import __all__ as _transforms

__all__ = [
    'ArrayCache', 'DataError', 'EvaluationSets', 'InfiniteIndexSampler',
    'JointDataset', 'PartialLabelDataset', 'build_train_loader',
    'collate_samples', *_transforms
]
