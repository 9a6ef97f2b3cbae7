"""Partially labelled datasets, their sampling and their transforms."""
from . import pipelines
from .checks import DataError
from .evaluation_sets import EvaluationSets
from .joint import JointDataset
from .partial_label import PartialLabelDataset

__all__ = [
    'DataError', 'EvaluationSets', 'JointDataset', 'PartialLabelDataset'
]
