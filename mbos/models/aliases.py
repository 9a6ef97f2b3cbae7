"""Names that configs and checkpoints of version 0.1 use for parts of mmseg.

Version 0.1 had subclasses of these, with the same weights and results; since
then ``mbos.accelerate`` does what they did.
"""
from mmseg.models.backbones import SwinTransformer
from mmseg.models.builder import BACKBONES, HEADS
from mmseg.models.decode_heads import UPerHead

BACKBONES.register_module(name='LeanSwinTransformer', module=SwinTransformer)
HEADS.register_module(name='LeanUPerHead', module=UPerHead)
