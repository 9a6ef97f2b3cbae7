"""Training: optimizers, hooks, runner, resume and validation."""
from .checkpoint_hook import SubfolderCheckpointHook
from .hooks import GradientStepHook, IterationSeedHook, LossLogHook
from .optimizers import NamedOptimizersConstructor
from .overlay_hook import EvaluationOverlayHook
from .run_log import CompactTextLoggerHook
from .runner import CheckedIterRunner

__all__ = [
    'CheckedIterRunner', 'CompactTextLoggerHook', 'EvaluationOverlayHook',
    'GradientStepHook', 'IterationSeedHook', 'LossLogHook',
    'NamedOptimizersConstructor', 'SubfolderCheckpointHook'
]
