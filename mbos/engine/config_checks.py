"""What a config asks for that training here does not do.

mmseg and mmcv have keys, hooks and types that mean nothing to this trainer or
would be done otherwise. They are refused before anything else happens, all of
them at once and each with what to write instead.
"""
import copy
import difflib
from collections.abc import Iterator, Mapping

from mmcv import Config
from mmcv.runner import HOOKS, RUNNERS, CheckpointHook, LrUpdaterHook
from mmcv.runner.hooks import OptimizerHook
from mmcv.utils import Registry

from mbos.checkpoints.foreign_state import SEGMENTORS
from mbos.config_rules import (DICT, FLAG, KNOWN, PATH, TEXT, Kind, has_type,
                               is_list_of, one_of, rules_of, unknown_keys,
                               value_at, whole_number, wrong_values)
from mbos.faults import InvalidConfigError
from .checkpoint_hook import SubfolderCheckpointHook
from .hooks import GradientStepHook
from .runner import CheckedIterRunner

NOT_READ = {
    **dict.fromkeys(('fp16', 'amp'), "precision='fp16' (or 'bf16')"),
    **dict.fromkeys(('max_epochs', 'total_epochs', 'total_iters',
                     'runner.max_epochs'),
                    'runner.max_iters, as runs count iterations'),
    **dict.fromkeys(('train_dataloader', 'data.train_dataloader'),
                    'data.samples_per_gpu and data.workers_per_gpu'),
    **dict.fromkeys(('data.val_dataloader', 'data.test_dataloader'),
                    'data.test_workers; evaluations take one image at a time'),
    **dict.fromkeys(('optim_wrapper', 'param_scheduler', 'default_hooks'),
                    'optimizer, optimizer_config, lr_config and the like, as '
                    'in mmseg 0.x'),
    'train_cfg': 'model.train_cfg and runner',
    'test_cfg': 'model.test_cfg',
    'checkpoint_config.out_dir': 'work_dir, or checkpoint_config.subfolder',
}  # yapf: disable
"""dict[str, str]: Keys of other trainers, and what to write instead."""
WITHOUT_EFFECT = ('find_unused_parameters', 'dist_params', 'device', 'gpu_ids',
                  'autoscale_lr', 'deterministic', 'randomness')
"""tuple[str]: Those that may stay."""
DEFAULTS = dict(
    log_level='INFO',
    runner=dict(type='CheckedIterRunner'),
    optimizer_config=dict(type='GradientStepHook'),
    checkpoint_config=dict(type='SubfolderCheckpointHook'),
    log_config=dict(interval=50, hooks=[dict(type='CompactTextLoggerHook')]),
    evaluation={},
    lr_config=None,
    load_from=None,
    resume_from=None)
"""dict: Parts that a config may leave out, and types that they may."""
REQUIRED = ('data.train', 'data.samples_per_gpu', 'data.workers_per_gpu',
            'runner.max_iters', 'log_config.interval', 'log_config.hooks',
            'seed', 'optimizer')


def _is_class(registry: Registry, kind: type | tuple, name: object) -> bool:
    return isinstance(name, str) and issubclass(
        registry.get(name) or object, kind)


def _is_optimizer(value: object) -> bool:
    """LBFGS needs the loss several times, SparseAdam sparse gradients."""
    if not isinstance(value, Mapping):
        return False
    return not any(
        value_at(part, 'type') in ('LBFGS', 'SparseAdam')
        for part in (value, *value.values()))


def _is_hook(value: object) -> bool:
    return has_type(value) and not value.get('by_epoch')


def _is_further_hook(value: object) -> bool:
    return _is_hook(value) and not _is_class(
        HOOKS,
        (OptimizerHook, GradientStepHook, CheckpointHook, LrUpdaterHook),
        value['type'])


PARTS = rules_of({
    Kind(lambda value: isinstance(value, Mapping) and TEXT.is_right(
        value.get('type', '')),
         'a dict, whose type is the name of a registered class'):
    'runner optimizer_config lr_config momentum_config checkpoint_config '
    'evaluation log_config model.test_cfg model.train_cfg'
})  # yapf: disable
"""dict[str, Kind]: What all other checks rely on."""
RULES = rules_of({
    whole_number(1): 'runner.max_iters evaluation.interval '
                     'log_config.interval',
    whole_number(1, 4096): 'data.samples_per_gpu',
    whole_number(0, 2**64 - 1): 'seed',
    whole_number(-1): 'checkpoint_config.interval '
                      'checkpoint_config.max_keep_ckpts',
    FLAG: 'compile cudnn_benchmark tf32 auto_resume accelerate '
          'checkpoint_config.save_last',
    PATH: 'load_from resume_from checkpoint_config.subfolder',
    Kind(lambda value: not value, 'False, as runs count iterations'):
    'lr_config.by_epoch checkpoint_config.by_epoch evaluation.by_epoch '
    'momentum_config.by_epoch',
    one_of('DEBUG', 'INFO', 'WARNING', 'ERROR'): 'log_level',
    one_of('float32', 'fp16', 'bf16'): 'precision',
    Kind(lambda value: value in ([('train', 1)], [['train', 1]]),
         "[('train', 1)]: evaluation.interval says when data.val is "
         'evaluated'): 'workflow',
    Kind(_is_optimizer, "a dict such as dict(type='AdamW', lr=...), of an "
         'optimizer that steps as that does'): 'optimizer',
    Kind(DICT.is_right, 'a dict such as dict(max_norm=1.0)'):
    'optimizer_config.grad_clip',
    Kind(lambda name: _is_class(HOOKS, GradientStepHook, name),
         "'GradientStepHook', which does all steps: accumulate=N gathers "
         "gradients, grad_clip clips them, and precision='fp16' scales "
         'losses'): 'optimizer_config.type',
    Kind(lambda name: _is_class(RUNNERS, CheckedIterRunner, name),
         "'CheckedIterRunner', which counts iterations and can be resumed "
         "anywhere: runner=dict(type='CheckedIterRunner', max_iters=...)"):
    'runner.type',
    Kind(lambda name: _is_class(HOOKS, SubfolderCheckpointHook, name),
         'none, or SubfolderCheckpointHook: runs could not be stopped and '
         'resumed without it'): 'checkpoint_config.type',
    Kind(lambda value: is_list_of(value, _is_hook), 'a list of dicts with a '
         "type, such as [dict(type='CompactTextLoggerHook')], and without "
         'by_epoch=True, as runs count iterations'): 'log_config.hooks',
    Kind(lambda value: is_list_of(value, _is_further_hook), 'a list of dicts '
         'with a type, without by_epoch=True, and without what '
         'optimizer_config, lr_config and checkpoint_config give'):
    'custom_hooks',
})  # yapf: disable
"""dict[str, Kind]: What settings of training must be."""


def check_training(cfg: Config) -> list[str]:
    """Fill in what a config may leave out, in place, and refuse what it asks
    for and would not get.

    Args:
        cfg (Config): Completed by ``load_config``.

    Returns:
        list[str]: Sentences on what is not read, and may stay.

    Raises:
        InvalidConfigError: Naming everything.
    """
    for key, default in DEFAULTS.items():
        if cfg.get(key) is None:
            cfg[key] = copy.deepcopy(default)
        elif isinstance(cfg[key], dict) and 'type' in (default or ()):
            cfg[key].setdefault('type', default['type'])
    if isinstance(cfg.evaluation, dict) and isinstance(cfg.runner, dict):
        cfg.evaluation.setdefault('interval', cfg.runner.get('max_iters'))
    problems = list(wrong_values(
        cfg, PARTS)) or [*_keys(cfg), *wrong_values(cfg, RULES)]
    if problems:
        raise InvalidConfigError(f'{cfg.filename}: ' + '\n'.join(problems))
    notes = [f'{key} is not read.' for key in WITHOUT_EFFECT if cfg.get(key)]
    for key in set(cfg) - {*KNOWN[''], *WITHOUT_EFFECT}:
        alike = difflib.get_close_matches(key, KNOWN[''], 1, 0.85)
        if alike and isinstance(cfg[key], dict):
            notes.append(f'{key} is not read; did you mean {alike[0]}?')
    return notes


def _keys(cfg: Config) -> Iterator[str]:
    for key, instead in NOT_READ.items():
        if value_at(cfg, key) is not None:
            yield f'{key} is not read: write {instead}.'
    for where, known in KNOWN.items():
        if where and (cfg.model.type in SEGMENTORS
                      or not where.startswith('model.')):
            part = value_at(cfg, where) or ()
            yield from unknown_keys(
                [key for key in part if f'{where}.{key}' not in NOT_READ],
                known, where)
    for key in REQUIRED:
        if value_at(cfg, key) is None:
            yield f'{key} is missing: see docs/configs.md.'
