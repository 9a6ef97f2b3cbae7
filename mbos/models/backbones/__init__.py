"""Backbones that mmseg does not have."""
from .timm_backbone import TimmFeatures

__all__ = ['TimmFeatures']
