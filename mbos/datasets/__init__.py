"""Partially labelled datasets, their sampling and their transforms."""
from . import pipelines
from .checks import DataError
from .joint import JointDataset
from .partial_label import PartialLabelDataset
from .scoring import EvaluationSets

__all__ = [
    'DataError', 'EvaluationSets', 'JointDataset', 'PartialLabelDataset'
]
