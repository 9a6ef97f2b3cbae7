"""Segmentors, heads, discriminators and losses; imports no datasets."""
from .adversarial_segmentor import AdversarialSegmentor
from .cross_task_attention import CrossTaskAttention
from .losses import BinaryLoss
from .multi_task_head import MultiTaskHead
from .multi_task_segmentor import MultiTaskSegmentor
from .patch_discriminator import PatchDiscriminator

__all__ = [
    'AdversarialSegmentor', 'BinaryLoss', 'CrossTaskAttention',
    'MultiTaskHead', 'MultiTaskSegmentor', 'PatchDiscriminator'
]
