"""What a config asks for that training here does not do.

mmseg and mmcv have keys, hooks and types that mean nothing to this trainer or
would be done otherwise. A run that left them out in silence would not be the
one that was asked for, so they are refused before anything else happens, all
of them at once and each with what to write instead.
"""
import copy
import difflib
import logging
from collections.abc import Iterator, Mapping

from mmcv import Config
from mmcv.runner import HOOKS, RUNNERS, CheckpointHook, EMAHook, LrUpdaterHook
from mmcv.runner.hooks import OptimizerHook
from mmcv.runner.optimizer.builder import OPTIMIZER_BUILDERS, OPTIMIZERS
from mmcv.utils import Registry

from mbos.checkpoints.foreign_state import SEGMENTORS
from mbos.config_rules import (DICT, FLAG, KNOWN, PATH, TEXT, Kind, has_type,
                               is_list_of, one_of, unknown_keys, value_at,
                               whole_number, wrong_values)
from mbos.faults import InvalidConfigError
from .averaging import EMAWeightsHook
from .checkpoint_hook import SubfolderCheckpointHook
from .foreign_keys import INSTEAD, NOT_DONE, STEP_HOOKS, WITHOUT_EFFECT
from .hooks import GradientStepHook
from .runner import CheckedIterRunner


def _is_class(registry: Registry, kind: type, name: object) -> bool:
    return isinstance(name, str) and issubclass(
        registry.get(name) or object, kind)


def _is_schedule(policy: object) -> bool:
    if not isinstance(policy, str):
        return False
    # as mmcv makes the name of a hook of it
    title = policy.title() if policy == policy.lower() else policy
    return _is_class(HOOKS, LrUpdaterHook, f'{title}LrUpdaterHook')


def _is_metric(value: object) -> bool:
    values = value if isinstance(value, (list, tuple)) else [value]
    return all(one in ('mIoU', 'mDice', 'mFscore') for one in values)


def _number_or_minus_one(least: int) -> Kind:
    number = whole_number(least)
    return Kind(lambda value: value == -1 or number.is_right(value),
                f'{number.expected}, or -1')


CHECKPOINT = Kind(TEXT.is_right, 'the path of a checkpoint')
HOOK_LIST = Kind(
    lambda value: is_list_of(value, has_type), 'a list of dicts with a type, '
    "such as [dict(type='CompactTextLoggerHook')]")
ITERATIONS = Kind(
    lambda value: not value, 'False: runs count iterations, give intervals in '
    'iterations')
PARTS = dict.fromkeys(
    ('runner', 'optimizer', 'optimizer_config', 'lr_config', 'momentum_config',
     'checkpoint_config', 'evaluation', 'log_config', 'prediction',
     'model.test_cfg', 'model.train_cfg'),
    Kind(
        lambda value: isinstance(value, Mapping) and TEXT.is_right(
            value.get('type', '')),
        'a dict, whose type is the name of a registered class'))
"""dict[str, Kind]: What all other checks rely on."""
REQUIRED = {
    'data.train':
    'name the training datasets there',
    'data.samples_per_gpu':
    'give a whole number from 1 up',
    'data.workers_per_gpu':
    'give a whole number from 0 up',
    'runner.max_iters':
    'give a whole number from 1 up',
    'log_config.interval':
    'give a whole number from 1 up',
    'log_config.hooks':
    f'give {HOOK_LIST.expected}',
    'seed':
    'give a whole number from 0 up',
    'optimizer':
    "write optimizer=dict(type='AdamW', lr=...), or copy it from "
    'configs/_base_/schedules',
}
"""dict[str, str]: What training needs, with the remedy where it is missing."""
RULES = {
    **dict.fromkeys(('data.samples_per_gpu', 'runner.max_iters',
                     'evaluation.interval', 'log_config.interval'),
                    whole_number(1)),
    'evaluation.start': whole_number(0),
    'seed': whole_number(0, 2**64 - 1),
    **dict.fromkeys(('compile', 'cudnn_benchmark', 'tf32', 'auto_resume',
                     'accelerate', 'checkpoint_config.save_optimizer',
                     'checkpoint_config.save_last',
                     'checkpoint_config.sync_buffer',
                     'checkpoint_config.create_symlink'), FLAG),
    'precision': one_of('float32', 'fp16', 'bf16'),
    'load_from': CHECKPOINT,
    'resume_from': CHECKPOINT,
    'checkpoint_config.subfolder': PATH,
    'evaluation.out_dir': PATH,
    'evaluation.tmpdir': PATH,
    'checkpoint_config.interval': _number_or_minus_one(1),
    'checkpoint_config.max_keep_ckpts': _number_or_minus_one(0),
    'checkpoint_config.meta': DICT,
    'log_config.hooks': HOOK_LIST,
    'custom_hooks': HOOK_LIST,
    **dict.fromkeys(('lr_config.by_epoch', 'checkpoint_config.by_epoch',
                     'evaluation.by_epoch', 'momentum_config.by_epoch'),
                    ITERATIONS),
    'workflow': Kind(
        lambda value: value in ([('train', 1)], [['train', 1]]),
        "[('train', 1)]: evaluation.interval says when data.val is evaluated"),
    'evaluation.metric': Kind(
        _is_metric, 'mIoU, mDice or mFscore; every metric is computed '
        'whatever it says'),
    'lr_config.policy': Kind(
        _is_schedule, "the name of a schedule, such as 'poly', 'fixed', "
        "'step' or 'CosineAnnealing'"),
    'runner.type': Kind(
        lambda name: _is_class(RUNNERS, CheckedIterRunner, name),
        "'CheckedIterRunner', which counts iterations and can be resumed "
        "anywhere: runner=dict(type='CheckedIterRunner', max_iters=...)"),
    'checkpoint_config.type': Kind(
        lambda name: _is_class(HOOKS, SubfolderCheckpointHook, name),
        'none, or SubfolderCheckpointHook: runs could not be stopped and '
        'resumed without it'),
}  # yapf: disable
"""dict[str, Kind]: What settings of training must be."""

LOG_LEVEL = one_of('DEBUG', 'INFO', 'WARNING', 'ERROR')
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
PARAMWISE = ('custom_keys', 'bias_lr_mult', 'bias_decay_mult',
             'norm_decay_mult', 'dwconv_decay_mult', 'dcn_offset_lr_mult',
             'bypass_duplicate')
UNUSABLE_OPTIMIZERS = ('LBFGS', 'SparseAdam')
"""tuple[str]: They compute the loss several times in a step, or take sparse
gradients only."""
ONE_OF_A_KIND = ((OptimizerHook, 'optimizer_config'), (GradientStepHook,
                                                       'optimizer_config'),
                 (CheckpointHook, 'checkpoint_config'), (LrUpdaterHook,
                                                         'lr_config'))
"""tuple: Hooks of which a run has one, and the keys that give it."""


def complete_training(cfg: Config) -> None:
    """Fill in what a config may leave out, in place.

    Raises:
        InvalidConfigError: If ``log_level`` is none.
    """
    for key, default in DEFAULTS.items():
        if cfg.get(key) is None:
            cfg[key] = copy.deepcopy(default)
        elif isinstance(cfg[key], dict) and 'type' in (default or ()):
            cfg[key].setdefault('type', default['type'])
    if isinstance(cfg.evaluation, dict) and isinstance(cfg.runner, dict):
        cfg.evaluation.setdefault('interval', cfg.runner.get('max_iters'))
    for problem in wrong_values(cfg, dict(log_level=LOG_LEVEL)):
        raise InvalidConfigError(f'{cfg.filename}: {problem}')


def check_training(cfg: Config, logger: logging.Logger) -> None:
    """Refuse what a config asks for and would not get.

    Args:
        cfg (Config): Completed by ``load_config`` and
            :func:`complete_training`.

    Raises:
        InvalidConfigError: Naming everything.
    """
    problems = list(wrong_values(cfg, PARTS)) or [
        *_keys(cfg), *wrong_values(cfg, RULES), *_optimizers(cfg), *_step(cfg),
        *_hooks(cfg)
    ]
    for key, reason in WITHOUT_EFFECT.items():
        if cfg.get(key, {}) != {}:  # an empty part asks for nothing
            logger.warning(f'{key} is not read: {reason}.')
    for key in cfg:
        alike = difflib.get_close_matches(key, KNOWN[''], 1, 0.85)
        if key not in KNOWN[''] and alike and isinstance(cfg[key], dict):
            logger.warning(f'{key} is not read; did you mean {alike[0]}?')
    if len(problems) == 1:
        raise InvalidConfigError(f'{cfg.filename}: {problems[0]}')
    if problems:
        raise InvalidConfigError(
            f'{cfg.filename} asks for {len(problems)} things '
            'that are not done:\n- ' + '\n- '.join(problems))


def _keys(cfg: Config) -> Iterator[str]:
    for key, remedy in NOT_DONE.items():
        if cfg.get(key) is not None:
            yield f'{key} is not read: {remedy}.'
    for where, known in KNOWN.items():
        if where.startswith('model.') and cfg.model.type not in SEGMENTORS:
            continue  # somebody's own
        if where:
            yield from unknown_keys(
                value_at(cfg, where) or (), known, where, INSTEAD)
    for key, remedy in REQUIRED.items():
        if value_at(cfg, key) is None:
            yield f'{key} is missing: {remedy}.'
    if cfg.lr_config and 'policy' not in cfg.lr_config:
        yield "lr_config needs a policy, such as policy='poly' or 'fixed'."


def _optimizers(cfg: Config) -> Iterator[str]:
    given = cfg.get('optimizer') or {}
    builder = given.get('constructor', 'DefaultOptimizerConstructor')
    if builder == 'NamedOptimizersConstructor':
        for name, part in given.items():
            if name not in ('constructor', 'paramwise_cfg'):
                yield from _optimizer(f'optimizer.{name}', part)
    elif OPTIMIZER_BUILDERS.get(str(builder)) is None:
        yield f'optimizer.constructor {builder!r} is unknown: write ' \
            'NamedOptimizersConstructor for stage 2, or leave it out.'
    elif 'generator' in given and 'type' not in given:
        yield 'optimizer needs a type, or ' \
            "constructor='NamedOptimizersConstructor'."
    elif given and builder == 'DefaultOptimizerConstructor':
        yield from _optimizer('optimizer', given)


def _optimizer(where: str, part: object) -> Iterator[str]:
    kind = value_at(part, 'type')
    if OPTIMIZERS.get(str(kind)) is None or kind in UNUSABLE_OPTIMIZERS:
        alike = difflib.get_close_matches(
            str(kind), OPTIMIZERS.module_dict, 1, 0.6)
        hint = f'; did you mean {alike[0]!r}?' if alike else '.'
        yield f'{where}.type is {kind!r}, expected an optimizer of ' \
            f"torch.optim or custom_imports that steps as 'AdamW' does{hint}"
        return
    paramwise = value_at(part, 'paramwise_cfg')
    yield from wrong_values(part, {
        'paramwise_cfg': DICT,
        'paramwise_cfg.custom_keys': DICT
    }, f'{where}.')
    if not isinstance(paramwise, Mapping):
        return
    where = f'{where}.paramwise_cfg'
    yield from unknown_keys(paramwise, PARAMWISE, where)
    custom = paramwise.get('custom_keys')
    for key, settings in custom.items() if isinstance(custom, Mapping) else ():
        name = f'{where}.custom_keys[{key!r}]'
        if isinstance(settings, Mapping):
            yield from unknown_keys(settings, ('lr_mult', 'decay_mult'), name)
        else:
            yield f'{name} is {settings!r}, expected lr_mult and decay_mult.'


def _step(cfg: Config) -> Iterator[str]:
    name = cfg.optimizer_config.type
    if _is_class(HOOKS, GradientStepHook, name):
        return
    number = cfg.optimizer_config.get('cumulative_iters', 'N')
    argument = STEP_HOOKS.get(name, '').replace('=N', f'={number}')
    precision = " and precision='fp16'" if 'Fp16' in name else ''
    yield f'optimizer_config.type is {name!r}, but all steps are ' \
        "GradientStepHook's: write optimizer_config=dict(" \
        f"type='GradientStepHook'{argument and ', '}{argument}){precision}."


def _hooks_at(cfg: Config, where: str) -> list[Mapping]:
    given = value_at(cfg, where)
    return given if HOOK_LIST.is_right(given) else []


def _hooks(cfg: Config) -> Iterator[str]:
    """Hooks that count epochs, or that a run has already."""
    for where in ('log_config.hooks', 'custom_hooks'):
        for hook in _hooks_at(cfg, where):
            if hook.get('by_epoch'):
                yield f'{where}: {hook["type"]} has by_epoch=True, but runs ' \
                    'count iterations: leave it out.'
    names = [hook['type'] for hook in _hooks_at(cfg, 'custom_hooks')]
    averaging = [
        name for name in names
        if _is_class(HOOKS, (EMAHook, EMAWeightsHook), name)
    ]
    if len(averaging) > 1:
        yield f'custom_hooks has {" and ".join(averaging)}, which both ' \
            'average the weights: keep one.'
    for name in names:
        keys = {
            key
            for kind, key in ONE_OF_A_KIND
            if cfg.get(key) and _is_class(HOOKS, kind, name)
        }
        for key in keys:
            yield f'custom_hooks: {name} would be the second of its kind; ' \
                f'write {key}.'
