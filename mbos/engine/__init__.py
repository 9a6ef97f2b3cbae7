"""Training: optimizers, hooks, runner, resume and validation."""
from .checkpoint_hook import SubfolderCheckpointHook
from .hooks import GradientStepHook, IterationSeedHook, LossLogHook
from .optimizers import NamedOptimizersConstructor
from .overlay_hook import EvaluationOverlayHook
from .runner import CheckedIterRunner
from .text_log import CompactTextLoggerHook

__all__ = [
    'CheckedIterRunner', 'CompactTextLoggerHook', 'EvaluationOverlayHook',
    'GradientStepHook', 'IterationSeedHook', 'LossLogHook',
    'NamedOptimizersConstructor', 'SubfolderCheckpointHook'
]
