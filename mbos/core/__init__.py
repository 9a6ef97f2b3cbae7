"""Tasks, metrics and optimisation: imports neither models nor datasets."""
from .hooks import GradientStepHook, LossLogHook
from .optimizers import NamedOptimizersConstructor
from .runner import CheckedIterRunner, SubfolderCheckpointHook
from .tasks import BUILTIN_TASKS, IGNORE_INDEX, Task, build_task, build_tasks

__all__ = [
    'BUILTIN_TASKS', 'CheckedIterRunner', 'GradientStepHook', 'IGNORE_INDEX',
    'LossLogHook', 'NamedOptimizersConstructor', 'SubfolderCheckpointHook',
    'Task', 'build_task', 'build_tasks'
]
