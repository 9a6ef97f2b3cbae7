"""Training: optimizers, hooks, runner, resume and rehearsal."""
from .evaluation_hook import EvaluationOverlayHook
from .hooks import GradientStepHook, IterationSeedHook
from .optimizers import NamedOptimizersConstructor
from .run_log import CompactTextLoggerHook, LossLogHook
from .runner import CheckedIterRunner, SubfolderCheckpointHook

__all__ = [
    'CheckedIterRunner', 'CompactTextLoggerHook', 'EvaluationOverlayHook',
    'GradientStepHook', 'IterationSeedHook', 'LossLogHook',
    'NamedOptimizersConstructor', 'SubfolderCheckpointHook'
]
