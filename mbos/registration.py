"""Registers all parts of MBOS with mmseg and mmcv, by importing them.

Configs name it in ``custom_imports = dict(imports=['mbos.registration'])``.
"""
from . import datasets, engine, models

__all__ = ['datasets', 'engine', 'models']
