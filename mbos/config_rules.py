"""What a config may say: tables of its keys, checked when it is read, and
more of them before it is trained with.

A rule is a key with dots, or several, and what the value must be: a type, as
annotations have it, a range, a tuple of choices, or a :class:`Kind`.
"""
import difflib
import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import UnionType
from typing import Any, get_args, get_origin

from mmcv import Config

from mbos.faults import InvalidConfigError
from mbos.tasks import build_tasks

MOST_WORKERS = max(64, 4 * (os.cpu_count() or 1))
"""int: Each is a process; more of them than this only fill the memory."""
SIMILAR = 0.75
"""float: How much alike a mistyped key and the one that was meant are."""


@dataclass(frozen=True)
class Kind:
    """A condition on a value, and the words for it in a sentence."""

    is_right: Callable[[Any], object]
    expected: str


def fits(value: object, kind: Any) -> bool:
    """Whether a value is as a rule says."""
    if isinstance(kind, Kind):
        return bool(kind.is_right(value))
    if isinstance(kind, (tuple, range)):
        # a range would look for what is no whole number one by one
        return type(value) is type(kind[0]) and value in kind
    if isinstance(kind, UnionType):
        return any(fits(value, one) for one in get_args(kind))
    of = get_args(kind)
    if get_origin(kind) is list:
        return isinstance(value, (list, tuple)) and all(
            fits(item, of[0]) for item in value)
    if get_origin(kind) is dict:
        return isinstance(value, Mapping) and all(
            fits(key, of[0]) and fits(value[key], of[1]) for key in value)
    kind = (int, float) if kind is float else kind
    return isinstance(value, kind) and not isinstance(value, bool)


def _words(kind: Any) -> str:
    if isinstance(kind, Kind):
        return kind.expected
    if isinstance(kind, range):
        return f'a whole number from {kind[0]} to {kind[-1]}'
    if isinstance(kind, tuple):
        return ' or '.join(map(repr, kind))
    if get_origin(kind) is list:
        return f'a list, of each {_words(*get_args(kind))}'
    return str(kind) if get_args(kind) else kind.__name__


def value_at(config: object, path: str) -> Any:
    """The value at a key with dots, None where there is none."""
    for key in path.split('.'):
        if not hasattr(config, 'get'):  # a dict, or mmcv's Config
            return None
        config = config.get(key)
    return config


def _has_type(value: object) -> bool:
    return isinstance(value_at(value, 'type'), str)


def _is_head(value: Any) -> bool:
    return _has_type(value) and ('head' in value
                                 or not value['type'].endswith('Head'))


def _is_step(value: Any) -> bool:
    return _has_type(value) and fits(value.get('transforms', []), PIPELINE)


def _is_hook(value: Any) -> bool:
    return _has_type(value) and not value.get('by_epoch')


def _is_further_hook(value: Any) -> bool:
    return _is_hook(value) and not value['type'].endswith(
        ('OptimizerHook', 'GradientStepHook', 'CheckpointHook',
         'LrUpdaterHook'))


MOST = 10**9
FLAG = (True, False)
PIPELINE: Any = list[Kind(_is_step, 'a dict with a type')]
RULES = {
    'model data test_sets prediction prediction.postprocessing': dict,
    'work_dir data_root model.pretrained model.backbone.init_cfg.checkpoint '
    'prediction.crop': str,
    'model.type': Kind(
        lambda name: fits(name, str) and not name.endswith('EncoderDecoder'),
        'MultiTaskSegmentor, or AdversarialSegmentor for stage 2'),
    'model.backbone': Kind(_has_type, 'one dict with a type'),
    'model.decode_head model.auxiliary_head': Kind(
        _is_head, "one dict such as dict(type='MultiTaskHead', head=dict("
        "type='UPerHead', ...), loss_decode=...)"),
    'model.decode_head.head.in_index model.decode_head.head.in_channels '
    'model.auxiliary_head.head.in_index '
    'model.auxiliary_head.head.in_channels': int | list[int],
    'data.workers_per_gpu data.test_workers': range(MOST_WORKERS + 1),
    'prediction.pipeline': PIPELINE,
    'prediction.thresholds prediction.postprocessing.specks':
        dict[str, float | dict[str, float]],
    'prediction.postprocessing.rim': float,
    'prediction.postprocessing.one_object': list[str],
    'runner optimizer_config lr_config momentum_config checkpoint_config '
    'evaluation log_config model.test_cfg model.train_cfg': Kind(
        lambda value: fits(value, dict) and fits(value.get('type', ''), str),
        'a dict, whose type is the name of a registered class'),
}  # yapf: disable
"""dict[str, Any]: What settings must be, for any use of a config."""
REQUIRED = 'model data model.type model.tasks model.backbone model.decode_head'
DATASET = {
    'name img_dir data_root ann_suffix split fov_dir': str,
    'img_suffix': str | list[str],
    'ann_dirs pseudo_dirs': dict[str, str | dict],
    'pipeline': PIPELINE,
    'weights': dict[str, float],
    'test_mode allow_unlabelled': FLAG,
    'ignore_index threshold': float,
}
"""dict[str, Any]: What the settings of a PartialLabelDataset must be."""
TRAINING = {
    'runner.max_iters evaluation.interval log_config.interval':
        range(1, MOST),
    'data.samples_per_gpu': range(1, 4097),
    'seed': range(2**64),
    'checkpoint_config.interval checkpoint_config.max_keep_ckpts':
        range(-1, MOST),
    'compile cudnn_benchmark tf32 auto_resume accelerate '
    'checkpoint_config.save_last': FLAG,
    'load_from resume_from checkpoint_config.subfolder': str,
    'lr_config.by_epoch checkpoint_config.by_epoch evaluation.by_epoch '
    'momentum_config.by_epoch':
        Kind(lambda value: not value, 'False, as runs count iterations'),
    'log_level': ('DEBUG', 'INFO', 'WARNING', 'ERROR'),
    'precision': ('float32', 'fp16', 'bf16'),
    'workflow': Kind(
        lambda value: value in ([('train', 1)], [['train', 1]]),
        "[('train', 1)]: evaluation.interval says when data.val is evaluated"),
    'optimizer': dict,
    'optimizer.type optimizer.generator.type': Kind(
        lambda name: name not in ('LBFGS', 'SparseAdam'),
        'one that steps as AdamW does'),
    'optimizer_config.grad_clip':
        Kind(lambda value: fits(value, dict), 'such as dict(max_norm=1.0)'),
    'optimizer_config.type': Kind(
        lambda name: name == 'GradientStepHook', "'GradientStepHook', with "
        "accumulate=N to gather gradients; precision='fp16' scales losses"),
    'runner.type': ('CheckedIterRunner', ),
    'checkpoint_config.type': ('SubfolderCheckpointHook', ),
    'log_config.hooks': list[Kind(
        _is_hook, "such as dict(type='CompactTextLoggerHook'), without "
        'by_epoch=True')],
    'custom_hooks': list[Kind(
        _is_further_hook, 'a dict with a type, without by_epoch=True, and none'
        ' that optimizer_config, lr_config and checkpoint_config give')],
}  # yapf: disable
"""dict[str, Any]: What else settings must be for training."""
REQUIRED_IN_TRAINING = (
    'data.train data.samples_per_gpu data.workers_per_gpu runner.max_iters '
    'seed optimizer')
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
KNOWN = {
    '': 'accelerate aug_test auto_resume checkpoint_config compile '
        'cudnn_benchmark custom_hooks custom_imports data data_root '
        'dist_params evaluation load_from log_config log_level lr_config '
        'model momentum_config optimizer optimizer_config precision '
        'prediction resume_from runner seed test_sets tf32 work_dir workflow',
    'data': 'samples_per_gpu workers_per_gpu test_workers train val test',
    'runner': 'type max_iters',
    'evaluation': 'interval start metric pre_eval save_best rule out_dir '
                  'by_epoch',
    'checkpoint_config': 'type interval by_epoch subfolder max_keep_ckpts '
                         'save_last',
    'log_config': 'interval hooks',
    'model.test_cfg': 'mode crop_size stride',
    'model.train_cfg': 'images_per_pass low_memory precision',
    'prediction': 'crop pipeline postprocessing thresholds',
    'prediction.postprocessing': 'rim one_object specks',
}  # yapf: disable
"""dict[str, str]: Keys that are read of a config and of its parts."""
INSTEAD = {
    key: instead
    for keys, instead in {
        'fp16 amp': "precision='fp16' (or 'bf16')",
        'max_epochs total_epochs total_iters runner.max_epochs':
            'runner.max_iters, as runs count iterations',
        'train_dataloader data.train_dataloader':
            'data.samples_per_gpu and data.workers_per_gpu',
        'data.val_dataloader data.test_dataloader':
            'data.test_workers; evaluations take one image at a time',
        'optim_wrapper param_scheduler default_hooks':
            'optimizer, optimizer_config, lr_config and the like',
        'train_cfg test_cfg': 'model.train_cfg, model.test_cfg and runner',
        'checkpoint_config.out_dir':
            'work_dir, or checkpoint_config.subfolder',
    }.items() for key in keys.split()
}  # yapf: disable
"""dict[str, str]: Keys of other trainers, and what to write instead."""


def check_structure(cfg: Config) -> None:
    """Refuse a file that is not a config of MBOS.

    Raises:
        InvalidConfigError: If the network or the data are missing, or have
            another structure than expected; names the first fault.
    """
    for problem in _problems(cfg):
        raise InvalidConfigError(problem)


def check_training(cfg: Config) -> list[str]:
    """Fill in what a config of ``load_config`` may leave out, in place, and
    refuse what it asks for and would not get in training.

    Returns:
        list[str]: Sentences on what is not read, and may stay.

    Raises:
        InvalidConfigError: Naming everything.
    """
    for key, default in DEFAULTS.items():
        given = cfg.get(key) or default
        cfg[key] = {**default, **given} if fits(default, dict) else given
    cfg.evaluation.setdefault('interval', cfg.runner.get('max_iters'))
    problems = [*_unread(cfg), *_missing(cfg, REQUIRED_IN_TRAINING),
                *_wrong(cfg, TRAINING)]  # yapf: disable
    if problems:
        raise InvalidConfigError(f'{cfg.filename}: ' + '\n'.join(problems))
    others = [key for key in cfg if fits(cfg[key], dict)]
    return [note for note in _unknown(others, KNOWN[''].split(), '')
            if 'did you mean' in note]  # yapf: disable


def check_overrides(cfg: Mapping, options: Iterable[str]) -> None:
    """Refuse overrides whose keys look mistyped; report others that are new.

    Parts that name a ``type`` are checked by whoever builds them; the others
    are only read, and a mistyped key there would change nothing.
    """
    for key in options:
        part, where = cfg, ''
        for name in key.split('.'):
            if not isinstance(part, Mapping) or name not in part:
                break
            part, where = part[name], f'{where}.{name}'.lstrip('.')
        else:
            continue
        if not isinstance(part, Mapping) or 'type' in part \
                or where.endswith('custom_keys'):
            continue
        known = [*part, *KNOWN.get(where, '').split()]
        for sentence in _unknown([name], known, where):
            if 'did you mean' in sentence:
                raise ValueError(f'--cfg-options {key}: {sentence} If not, '
                                 'write the key into a config file.')
            warnings.warn(f'--cfg-options {key}: the config had no {name!r}; '
                          'it is added, but nothing may read it.')


def _wrong(config: object,
           rules: Mapping[str, Any],
           where: str = '') -> Iterator[str]:
    """Sentences on settings that are there and not what they must be."""
    for keys, kind in rules.items():
        for key in keys.split():
            value = value_at(config, key)
            if value is not None and not fits(value, kind):
                yield f'{where}{key} is {repr(value)[:80]}, expected ' \
                    f'{_words(kind)}.'


def _missing(config: object, keys: str, where: str = '') -> Iterator[str]:
    for key in keys.split():
        if value_at(config, key) in (None, '', [], {}):
            yield f'{where}{key} is missing: see docs/configs.md.'


def _unknown(part: Iterable[str], known: Iterable[str],
             where: str) -> Iterator[str]:
    """Sentences on keys of a part that nothing reads."""
    for key in part:
        name = f'{where}.{key}'.lstrip('.')
        alike = difflib.get_close_matches(str(key), known, 1, SIMILAR)
        if name in INSTEAD:
            yield f'{name} is not read: write {INSTEAD[name]}.'
        elif key not in known:
            yield f'{name} is not read: ' + (f'did you mean {alike[0]!r}?'
                                             if alike else
                                             f'there are {", ".join(known)}.')


def _unread(cfg: Config) -> Iterator[str]:
    """Keys of other trainers, and keys within parts that are ours."""
    yield from _unknown([key for key in cfg if key in INSTEAD], (), '')
    is_ours = cfg.model.type in ('MultiTaskSegmentor', 'AdversarialSegmentor')
    for where, known in KNOWN.items():
        if where and (is_ours or not where.startswith('model.')):
            part = value_at(cfg, where) or ()
            yield from _unknown(part, known.split(), where)


def _problems(cfg: Any) -> Iterator[str]:
    """What is wrong; each check relies on those before."""
    yield from _wrong(cfg, RULES)
    yield from _missing(cfg, REQUIRED)
    try:
        tasks = build_tasks(cfg.model.tasks)
    except (TypeError, ValueError, AttributeError) as error:
        yield f'model.tasks: {error}'
    yield from _problems_of_prediction(cfg, {t.name: t.classes for t in tasks})
    for key in ('train', 'val', 'test'):
        given = cfg.data.get(key)
        if key != 'test' or not isinstance(given, str):
            yield from _problems_of_datasets(given, f'data.{key}')
    for name, dataset in (cfg.get('test_sets') or {}).items():
        yield from _problems_of_datasets(dataset, f'test_sets.{name}')


def _problems_of_prediction(cfg: Any, classes: Mapping) -> Iterator[str]:
    for where in ('prediction', 'prediction.postprocessing'):
        given = value_at(cfg, where) or ()
        yield from _unknown(given, KNOWN[where].split(), where)
    for where in ('prediction.thresholds', 'prediction.postprocessing.specks',
                  'prediction.postprocessing.one_object'):
        named = value_at(cfg, where) or {}
        yield from _unknown(named, classes, where)
        for task, given in dict(named).items() if fits(named, dict) else ():
            if isinstance(given, Mapping):
                yield from _unknown(given, classes[task], f'{where}.{task}')


def _problems_of_datasets(given: Any, key: str) -> Iterator[str]:
    """What is not a dataset, or would repeat or mix others."""
    if given is None:
        return
    if isinstance(given, (list, tuple)):
        for member in given:
            yield from _problems_of_datasets(member, key)
    elif not _has_type(given) or 'dataset' in given or (
            key == 'data.train' and given['type'] == 'ConcatDataset'):
        yield f'{key} has {repr(given)[:60]}, expected dict(type=' \
            "'PartialLabelDataset', ...), a list of such, or in data.train " \
            "dict(type='JointDataset', datasets=[...])."
    elif 'datasets' in given:
        yield from _missing(given, 'datasets', f'{key}.')
        yield from _wrong(given, {'datasets': list[object]}, f'{key}.')
        yield from _problems_of_datasets(given['datasets'], key)
    elif given['type'] == 'PartialLabelDataset':
        where = f'{key}, dataset {given.get("name")!r}: '
        known = ' '.join(['type tasks', *DATASET]).split()
        yield from (where + text for text in _unknown(given, known, ''))
        yield from _missing(given, 'name img_dir pipeline', where)
        yield from _wrong(given, DATASET, where)
