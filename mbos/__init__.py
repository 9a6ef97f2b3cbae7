"""MBOS: one network for every structure, from partially labelled datasets.

Importing this package registers its segmentors, heads, losses, datasets,
transforms, runner, hooks and optimizer constructor with mmseg and mmcv.
Configs do it with ``custom_imports = dict(imports=['mbos'])``.
"""
from . import core, datasets, models

__version__ = '0.1.0'

__all__ = ['core', 'datasets', 'models', '__version__']
