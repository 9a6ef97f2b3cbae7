"""Tasks, metrics and optimisation: imports neither models nor datasets."""
from .averaging import EMAWeightsHook
from .checkpoints import SubfolderCheckpointHook
from .hooks import GradientStepHook, IterationSeedHook, LossLogHook
from .optimizers import NamedOptimizersConstructor
from .runner import CheckedIterRunner
from .tasks import BUILTIN_TASKS, IGNORE_INDEX, Task, build_task, build_tasks
from .text_log import CompactTextLoggerHook

__all__ = [
    'BUILTIN_TASKS', 'CheckedIterRunner', 'CompactTextLoggerHook',
    'EMAWeightsHook', 'GradientStepHook', 'IGNORE_INDEX', 'IterationSeedHook',
    'LossLogHook', 'NamedOptimizersConstructor', 'SubfolderCheckpointHook',
    'Task', 'build_task', 'build_tasks'
]
