"""What a config asks for that training here does not do.

mmseg and mmcv have keys, hooks and types that mean nothing to this trainer or
would be done otherwise. A run that left them out in silence would not be the
one that was asked for, so they are refused before anything else happens, all
of them at once and each with what to write instead.
"""
import difflib
import importlib.util
import logging
import math
from collections.abc import Iterator

from mmcv import Config
from mmcv.runner import HOOKS, RUNNERS, CheckpointHook, EMAHook, LrUpdaterHook
from mmcv.runner.hooks import OptimizerHook
from mmcv.runner.optimizer.builder import OPTIMIZER_BUILDERS, OPTIMIZERS

from mbos.checkpoints.foreign_state import SEGMENTORS
from mbos.datasets.loader import MOST_WORKERS
from mbos.faults import InvalidConfigError
from .averaging import EMAWeightsHook
from .checkpoint_hook import SubfolderCheckpointHook
from .foreign_keys import (INSTEAD, NOT_DONE, PACKAGES, STEP_HOOKS,
                           WITHOUT_EFFECT)
from .hooks import GradientStepHook
from .runner import CheckedIterRunner

READ = ('aug_test', 'auto_resume', 'checkpoint_config', 'compile',
        'cudnn_benchmark', 'custom_hooks', 'custom_imports', 'data',
        'data_root', 'dist_params', 'evaluation', 'load_from', 'log_config',
        'log_level', 'lr_config', 'model', 'momentum_config', 'optimizer',
        'optimizer_config', 'precision', 'prediction', 'resume_from', 'runner',
        'seed', 'test_sets', 'tf32', 'work_dir', 'workflow')
"""tuple[str]: Keys at the top of a config that are read."""

PARTS = {
    'data': ('samples_per_gpu', 'workers_per_gpu', 'test_workers', 'train',
             'val', 'test'),
    'runner': ('type', 'max_iters'),
    'evaluation': ('interval', 'start', 'metric', 'pre_eval', 'save_best',
                   'rule', 'greater_keys', 'less_keys', 'out_dir', 'by_epoch',
                   'gpu_collect', 'tmpdir', 'broadcast_bn_buffer'),
    'checkpoint_config':
    ('type', 'interval', 'by_epoch', 'subfolder', 'max_keep_ckpts',
     'save_optimizer', 'save_last', 'sync_buffer', 'create_symlink', 'meta'),
    'log_config': ('interval', 'hooks'),
    'model.test_cfg': ('mode', 'crop_size', 'stride'),
    'model.train_cfg': ('images_per_pass', 'low_memory', 'precision'),
}
"""dict[str, tuple[str]]: Parts whose keys are all known."""

DICTS = ('runner', 'optimizer', 'optimizer_config', 'lr_config',
         'momentum_config', 'checkpoint_config', 'evaluation', 'log_config',
         'prediction')
PARAMWISE = ('custom_keys', 'bias_lr_mult', 'bias_decay_mult',
             'norm_decay_mult', 'dwconv_decay_mult', 'dcn_offset_lr_mult',
             'bypass_duplicate')
CHOICES: dict[str, tuple] = dict(
    compile=(True, False),
    cudnn_benchmark=(True, False),
    tf32=(True, False),
    auto_resume=(True, False),
    accelerate=(True, False),
    precision=('float32', 'fp16', 'bf16'))
"""dict[str, tuple]: Keys of few values."""
UNUSABLE_OPTIMIZERS = dict(
    LBFGS='computes the loss several times in a step',
    SparseAdam='takes sparse gradients only, which networks here have not')
NUMBERS = {
    'data.samples_per_gpu': (1, math.inf, False),
    'data.workers_per_gpu': (0, MOST_WORKERS, False),
    'data.test_workers': (0, MOST_WORKERS, True),
    'runner.max_iters': (1, math.inf, False),
    'evaluation.interval': (1, math.inf, True),
    'evaluation.start': (0, math.inf, True),
    'log_config.interval': (1, math.inf, False),
    'seed': (0, 2**64 - 1, False),
}
"""dict[str, tuple]: Least and largest value, and whether it may be missing."""
AVERAGING = (EMAHook, EMAWeightsHook)
METRICS = ('mIoU', 'mDice', 'mFscore')
SIMILAR = 0.75


def complete_training(cfg: Config) -> None:
    """Fill in what a config may leave out.

    Args:
        cfg (Config): Changed in place: types of runner, step and checkpoint
            hook; empty parts.

    Raises:
        InvalidConfigError: If ``log_level`` is none.
    """
    cfg.log_level = cfg.get('log_level') or 'INFO'
    if cfg.log_level not in ('DEBUG', 'INFO', 'WARNING', 'ERROR'):
        raise InvalidConfigError(
            f'{cfg.filename}: log_level is {cfg.log_level!r}, expected DEBUG, '
            'INFO, WARNING or ERROR.')
    for key, default in (('runner', 'CheckedIterRunner'), ('optimizer_config',
                                                           'GradientStepHook'),
                         ('checkpoint_config', 'SubfolderCheckpointHook')):
        if cfg.get(key) is None:
            cfg[key] = {}
        if isinstance(cfg[key], dict):
            cfg[key].setdefault('type', default)
    for key in ('load_from', 'resume_from', 'lr_config'):
        cfg.setdefault(key, None)
    if cfg.get('log_config') is None:
        cfg.log_config = dict(
            interval=50, hooks=[dict(type='CompactTextLoggerHook')])
    if cfg.get('evaluation') is None:
        cfg.evaluation = {}
    if isinstance(cfg.evaluation, dict) and isinstance(cfg.runner, dict):
        cfg.evaluation.setdefault('interval', cfg.runner.get('max_iters'))


def check_training(cfg: Config, logger: logging.Logger) -> None:
    """Refuse what a config asks for and would not get.

    Args:
        cfg (Config): Completed by ``load_config`` and
            :func:`complete_training`.

    Raises:
        InvalidConfigError: Naming everything.
    """
    checks = (_keys, _numbers, _choices, _files, _runner, _optimizers, _step,
              _schedule, _checkpoints, _evaluation, _loggers, _custom_hooks)
    problems = list(
        _shapes(cfg)) or [text for check in checks for text in check(cfg)]
    for key, reason in WITHOUT_EFFECT.items():
        if key in cfg:
            logger.warning(f'{key} is not read: {reason}.')
    if cfg.get('dist_params'):
        logger.warning('dist_params is not read: the backend is nccl with '
                       'CUDA, otherwise gloo.')
    for key in cfg:
        alike = difflib.get_close_matches(key, READ, 1, 0.85)
        if key not in READ and alike and isinstance(cfg[key], dict):
            logger.warning(f'{key} is not read; did you mean {alike[0]}?')
    if len(problems) == 1:
        raise InvalidConfigError(f'{cfg.filename}: {problems[0]}')
    if problems:
        raise InvalidConfigError(
            f'{cfg.filename} asks for {len(problems)} things '
            'that are not done:\n- ' + '\n- '.join(problems))


def _shapes(cfg: Config) -> Iterator[str]:
    """Parts that are no dicts, or whose type is no name."""
    for name in DICTS:
        part = cfg.get(name)
        if part is None:
            continue
        if not isinstance(part, dict):
            yield f'{name} is {part!r}, expected a dict.'
        elif not isinstance(part.get('type', ''), str):
            yield f'{name}.type is {part["type"]!r}, expected the name of a ' \
                'registered class.'


def _keys(cfg: Config) -> Iterator[str]:
    for key, remedy in NOT_DONE.items():
        if cfg.get(key) is not None:
            yield f'{key} is not read: {remedy}.'
    for name, known in PARTS.items():
        part = cfg
        for step in name.split('.'):
            part = part.get(step) or {}
        if not isinstance(part, dict):
            yield f'{name} is {part!r}, expected a dict.'
            continue
        if name.startswith('model.') and cfg.model.type not in SEGMENTORS:
            continue  # somebody's own
        for key in part:
            if key in known:
                continue
            alike = difflib.get_close_matches(key, known, 1, SIMILAR)
            remedy = INSTEAD.get(f'{name}.{key}') or (
                f'did you mean {alike[0]!r}?'
                if alike else f'it may have {", ".join(known)}')
            yield f'{name}.{key} is not read: {remedy}.'.replace('?.', '?')
    if cfg.data.get('train') is None:
        yield 'data.train is missing: name the training datasets there.'
    workflow = cfg.get('workflow') or [('train', 1)]
    if [list(step) if isinstance(step, (list, tuple)) else step
            for step in workflow] != [['train', 1]]:  # yapf: disable
        yield (f'workflow is {workflow!r}, only [(\'train\', 1)] is done: '
               'evaluation.interval says when data.val is evaluated.')
    for key in ('lr_config', 'checkpoint_config', 'evaluation',
                'momentum_config'):
        part = cfg.get(key)
        if isinstance(part, dict) and part.get('by_epoch'):
            yield f'{key}.by_epoch is true, but runs count iterations: ' \
                'set it to False and give intervals in iterations.'


def _is_count(value: object, least: int = 1, most: float = math.inf) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) \
        and least <= value <= most


def _numbers(cfg: Config) -> Iterator[str]:
    for name, (least, most, optional) in NUMBERS.items():
        part, _, key = name.rpartition('.')
        holder = cfg.get(part) if part else cfg
        value = holder.get(key)
        expected = f'a whole number from {least} ' + ('up' if most == math.inf
                                                      else f'to {most}')
        if value is None and not optional:
            yield f'{name} is missing: give {expected}.'
        elif value is not None and not _is_count(value, least, most):
            yield f'{name} is {value!r}, expected {expected}.'


def _choices(cfg: Config) -> Iterator[str]:
    for name, choices in CHOICES.items():
        value = cfg.get(name)
        if value is not None and value not in choices:
            yield f'{name} is {value!r}, expected ' \
                f'{" or ".join(map(repr, choices))}.'


def _files(cfg: Config) -> Iterator[str]:
    for name in ('load_from', 'resume_from'):
        if not isinstance(cfg.get(name), (str, type(None))):
            yield f'{name} is {cfg[name]!r}, expected the path of a ' \
                'checkpoint.'


def _type_of(part: object) -> str | None:
    """The type that a part names, None if it names none."""
    name = part.get('type') if isinstance(part, dict) else None
    return name if isinstance(name, str) else None


def _runner(cfg: Config) -> Iterator[str]:
    name = _type_of(cfg.runner)
    if name is None:
        return
    runner = RUNNERS.get(name)
    if runner is None or not issubclass(runner, CheckedIterRunner):
        yield f'runner.type is {name!r}, only CheckedIterRunner is done, ' \
            'which counts iterations and can be resumed anywhere: ' \
            "runner=dict(type='CheckedIterRunner', max_iters=...)."


def _optimizers(cfg: Config) -> Iterator[str]:
    given = cfg.get('optimizer')
    if not isinstance(given, dict):
        yield 'optimizer is missing: write optimizer=dict(type=\'AdamW\', ' \
            'lr=...), or copy it from configs/_base_/schedules.'
        return
    builder = given.get('constructor', 'DefaultOptimizerConstructor')
    if OPTIMIZER_BUILDERS.get(str(builder)) is None:
        yield f'optimizer.constructor {builder!r} is unknown: write ' \
            'NamedOptimizersConstructor for stage 2, or leave it out.'
        return
    parts = {'optimizer': given}
    if builder == 'NamedOptimizersConstructor':
        parts = {
            f'optimizer.{name}': part
            for name, part in given.items()
            if name not in ('constructor', 'paramwise_cfg')
        }
    elif builder != 'DefaultOptimizerConstructor':
        return  # somebody's own
    for name, part in parts.items():
        yield from _optimizer(name, part)


def _optimizer(name: str, part: object) -> Iterator[str]:
    kind = part.get('type') if isinstance(part, dict) else None
    if kind is None:
        hint = ''
        if name == 'optimizer' and 'generator' in part:
            hint = ", or constructor='NamedOptimizersConstructor'"
        yield f"{name} needs a type, such as type='AdamW'{hint}."
        return
    if OPTIMIZERS.get(str(kind)) is None:
        alike = difflib.get_close_matches(
            str(kind), OPTIMIZERS.module_dict, 1, 0.6)
        yield f'{name}.type {kind!r} is unknown' + (
            f': did you mean {alike[0]!r}?' if alike else
            ': take one of torch.optim, or import yours by custom_imports.')
    elif kind in UNUSABLE_OPTIMIZERS:
        yield f'{name}.type {kind!r} {UNUSABLE_OPTIMIZERS[kind]}: take ' \
            "another, such as 'AdamW'."
    paramwise = part.get('paramwise_cfg')
    if not isinstance(paramwise, (dict, type(None))):
        yield f'{name}.paramwise_cfg is {paramwise!r}, expected a dict.'
    for key in paramwise if isinstance(paramwise, dict) else ():
        if key not in PARAMWISE:
            yield f'{name}.paramwise_cfg.{key} is not read: it may have ' \
                f'{", ".join(PARAMWISE)}.'
    custom = (paramwise or {}).get('custom_keys') \
        if isinstance(paramwise, dict) else None
    for key, settings in (custom or {}).items():
        unknown = set(settings) - {'lr_mult', 'decay_mult'} \
            if isinstance(settings, dict) else {repr(settings)}
        if unknown:
            yield f'{name}.paramwise_cfg.custom_keys[{key!r}] has ' \
                f'{", ".join(sorted(unknown))}: it may have lr_mult and ' \
                'decay_mult.'


def _step(cfg: Config) -> Iterator[str]:
    name = _type_of(cfg.optimizer_config)
    if name is None or issubclass(HOOKS.get(name) or object, GradientStepHook):
        return
    own = STEP_HOOKS.get(name)
    arguments = f", {own}" if own else ''
    if own == 'accumulate=N':
        number = cfg.optimizer_config.get('cumulative_iters', 'N')
        arguments = f', accumulate={number}'
    text = (f'optimizer_config.type is {name!r}, but all steps are '
            "GradientStepHook's: write optimizer_config="
            f"dict(type='GradientStepHook'{arguments})")
    if 'Fp16' in name:
        text += " and precision='fp16'"
    yield text + '.'


def _schedule(cfg: Config) -> Iterator[str]:
    part = cfg.get('lr_config')
    if not part:
        return
    known = {
        name[:-len('LrUpdaterHook')]
        for name, hook in HOOKS.module_dict.items()
        if name.endswith('LrUpdaterHook') and issubclass(hook, LrUpdaterHook)
    }
    if not isinstance(part.get('policy', part.get('type')), str):
        yield "lr_config needs a policy, such as policy='poly' or 'fixed'."
        return
    policy = part.get('policy')
    # as mmcv makes the name of a hook of it
    title = policy and (policy.title() if policy == policy.lower() else policy)
    if policy is not None and title not in known:
        names = ', '.join(sorted(name.lower() for name in known if name))
        yield f'lr_config.policy {policy!r} is unknown: use one of {names}.'


def _checkpoints(cfg: Config) -> Iterator[str]:
    name = _type_of(cfg.checkpoint_config)
    hook = HOOKS.get(name) if name else None
    if name and not issubclass(hook or object, SubfolderCheckpointHook):
        yield f'checkpoint_config.type is {name!r}, but runs could not be ' \
            'stopped and resumed without SubfolderCheckpointHook: leave ' \
            'the type out.'
    folder = cfg.checkpoint_config.get('subfolder', '')
    if not isinstance(folder, str):
        yield f'checkpoint_config.subfolder is {folder!r}, expected the ' \
            'name of a folder.'
    most = cfg.checkpoint_config.get('max_keep_ckpts', -1)
    if most != -1 and not _is_count(most, 0):
        yield f'checkpoint_config.max_keep_ckpts is {most!r}, expected a ' \
            'whole number, or -1 to keep all.'
    for key in ('save_optimizer', 'save_last', 'sync_buffer',
                'create_symlink'):
        value = cfg.checkpoint_config.get(key, True)
        if not isinstance(value, bool):
            yield f'checkpoint_config.{key} is {value!r}, expected True or ' \
                'False.'
    meta = cfg.checkpoint_config.get('meta')
    if not isinstance(meta, (dict, type(None))):
        yield f'checkpoint_config.meta is {meta!r}, expected a dict.'
    interval = cfg.checkpoint_config.get('interval', -1)
    if interval != -1 and not _is_count(interval):
        yield f'checkpoint_config.interval is {interval!r}, expected a ' \
            'whole number from 1 up.'


def _evaluation(cfg: Config) -> Iterator[str]:
    for key in ('tmpdir', 'out_dir'):
        folder = cfg.evaluation.get(key)
        if not isinstance(folder, (str, type(None))):
            yield f'evaluation.{key} is {folder!r}, expected the path of a ' \
                'folder.'
    metric = cfg.evaluation.get('metric', 'mIoU')
    wanted = metric if isinstance(metric, (list, tuple)) else [metric]
    unknown = [name for name in wanted if name not in METRICS]
    if unknown:
        yield f'evaluation.metric has {unknown[0]!r}: expected ' \
            f'{", ".join(METRICS)}; every metric is computed whatever it ' \
            'says.'


def _hooks_of(part: object) -> list[dict]:
    hooks = part if isinstance(part, (list, tuple)) else []
    return [hook for hook in hooks if _type_of(hook)]


def _loggers(cfg: Config) -> Iterator[str]:
    hooks = cfg.log_config.get('hooks')
    if not isinstance(hooks,
                      (list, tuple)) or len(_hooks_of(hooks)) != len(hooks):
        yield 'log_config.hooks is not a list of dicts with a type, such as ' \
            "[dict(type='CompactTextLoggerHook')]."
    yield from _missing_packages('log_config.hooks', hooks)


def _missing_packages(where: str, hooks: object) -> Iterator[str]:
    for hook in _hooks_of(hooks):
        name = _type_of(hook)
        if HOOKS.get(name) is None:
            yield f'{where}: {name} is unknown: correct its type, or import ' \
                'it by custom_imports.'
        package = PACKAGES.get(name)
        if package and importlib.util.find_spec(package) is None:
            yield f'{where}: {name} needs the package {package}: pip ' \
                f'install {package}, or take the hook out.'
        if hook.get('by_epoch'):
            yield f'{where}: {name} has by_epoch=True, but runs count ' \
                'iterations: leave it out.'


def _custom_hooks(cfg: Config) -> Iterator[str]:
    hooks = cfg.get('custom_hooks') or []
    if not isinstance(hooks,
                      (list, tuple)) or len(_hooks_of(hooks)) != len(hooks):
        yield 'custom_hooks is not a list of dicts with a type, such as ' \
            "[dict(type='EMAWeightsHook')]."
    yield from _missing_packages('custom_hooks', hooks)
    averaging = [
        name for name in map(_type_of, _hooks_of(hooks))
        if issubclass(HOOKS.get(name) or object, AVERAGING)
    ]
    if len(averaging) > 1:
        yield f'custom_hooks has {" and ".join(averaging)}, which both ' \
            'average the weights: keep one.'
    for given in _hooks_of(hooks):
        name = _type_of(given)
        hook = HOOKS.get(name) or object
        for kind, key in ((OptimizerHook, 'optimizer_config'),
                          (GradientStepHook, 'optimizer_config'),
                          (CheckpointHook,
                           'checkpoint_config'), (LrUpdaterHook, 'lr_config')):
            if issubclass(hook, kind) and cfg.get(key):
                yield f'custom_hooks: {name} would be the second of its ' \
                    f'kind; write {key}.'
                break
