"""Training: optimizers, hooks, runner, resume and rehearsal."""
from .checkpoint_hook import SubfolderCheckpointHook
from .hooks import GradientStepHook, IterationSeedHook
from .optimizers import NamedOptimizersConstructor
from .overlay_hook import EvaluationOverlayHook
from .run_log import CompactTextLoggerHook, LossLogHook
from .runner import CheckedIterRunner

__all__ = [
    'CheckedIterRunner', 'CompactTextLoggerHook', 'EvaluationOverlayHook',
    'GradientStepHook', 'IterationSeedHook', 'LossLogHook',
    'NamedOptimizersConstructor', 'SubfolderCheckpointHook'
]
