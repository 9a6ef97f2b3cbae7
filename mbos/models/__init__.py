"""Segmentors, heads, discriminators and losses; imports no datasets."""
from . import aliases
from .adversarial_segmentor import AdversarialSegmentor
from .backbones import TimmFeatures
from .compilation import compile_parts
from .cross_task_attention import CrossTaskAttention
from .losses import BinaryLoss
from .multi_task_head import MultiTaskHead
from .multi_task_segmentor import MultiTaskSegmentor
from .patch_discriminator import PatchDiscriminator

__all__ = [
    'AdversarialSegmentor', 'BinaryLoss', 'CrossTaskAttention',
    'MultiTaskHead', 'MultiTaskSegmentor', 'PatchDiscriminator',
    'TimmFeatures', 'aliases', 'compile_parts'
]
