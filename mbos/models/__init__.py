"""Segmentors, heads, discriminators and losses; imports no datasets."""
from mmseg.models.backbones import SwinTransformer
from mmseg.models.builder import BACKBONES, HEADS
from mmseg.models.decode_heads import UPerHead

from .adversarial_segmentor import AdversarialSegmentor
from .backbones import TimmFeatures
from .cross_task_attention import CrossTaskAttention
from .losses import BinaryLoss
from .multi_task_head import MultiTaskHead
from .multi_task_segmentor import MultiTaskSegmentor
from .patch_discriminator import PatchDiscriminator

# Version 0.1 had subclasses of these, with the same weights and results, which
# its configs and checkpoints name; mbos.accelerate does what they did.
BACKBONES.register_module(name='LeanSwinTransformer', module=SwinTransformer)
HEADS.register_module(name='LeanUPerHead', module=UPerHead)

__all__ = [
    'AdversarialSegmentor', 'BinaryLoss', 'CrossTaskAttention',
    'MultiTaskHead', 'MultiTaskSegmentor', 'PatchDiscriminator', 'TimmFeatures'
]
