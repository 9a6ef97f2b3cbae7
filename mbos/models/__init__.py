"""Segmentors, heads, discriminators and losses; imports no datasets."""
from .adversarial_segmentor import AdversarialSegmentor
from .backbones import TimmFeatures
from .compilation import compile_parts
from .cross_task_attention import CrossTaskAttention
from .losses import BinaryLoss
from .multi_task_head import MultiTaskHead
from .multi_task_segmentor import MultiTaskSegmentor
from .patch_discriminator import PatchDiscriminator
from .swin import LeanSwinTransformer
from .uper_decoder import LeanUPerHead

__all__ = [
    'AdversarialSegmentor', 'BinaryLoss', 'CrossTaskAttention',
    'LeanSwinTransformer', 'LeanUPerHead', 'MultiTaskHead',
    'MultiTaskSegmentor', 'PatchDiscriminator', 'TimmFeatures', 'compile_parts'
]
