"""What a config may say: tables of its keys, checked when it is read, and
more of them before training. A rule is a key with dots, or several, and what
the value must be: a type, or a :class:`Kind`."""
import difflib
import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from mmcv import Config

from mbos.faults import InvalidConfigError
from mbos.tasks import build_tasks

MOST_WORKERS = max(64, 4 * (os.cpu_count() or 1))  # more only fill the memory


class Kind(NamedTuple):
    """The words for a condition on a value, and the condition."""

    words: str
    is_right: Callable[[Any], object]


def whole(low: int, high: int = 10**9) -> Kind:
    """Whole numbers of a range."""
    return Kind(f'a whole number from {low} to {high}',
                lambda value: type(value) is int and low <= value <= high)


def one_of(*choices: str) -> Kind:
    """Some texts."""
    return Kind(' or '.join(map(repr, choices)), choices.__contains__)


def list_of(words: str, is_right: Callable[[Any], object]) -> Kind:
    """Lists of one kind."""
    return Kind(
        f'a list, of each {words}', lambda value: isinstance(
            value, list | tuple) and all(map(is_right, value)))


def fits(value: object, kind: Any) -> bool:
    """Whether a value is as a rule says."""
    if isinstance(kind, Kind):
        return bool(kind.is_right(value))
    if isinstance(value, bool):
        return kind in (bool, object)
    return isinstance(value, (int, float) if kind is float else kind)


def value_at(config: object, path: str) -> Any:
    """The value at a key with dots, None where there is none."""
    for key in path.split('.'):
        if not hasattr(config, 'get'):  # a dict, or mmcv's Config
            return None
        config = config.get(key)
    return config


def _has_type(value: object) -> bool:
    return isinstance(value_at(value, 'type'), str)


def _is_hook(value: Any) -> bool:
    return _has_type(value) and not value.get('by_epoch')


HOOKS_ELSEWHERE = ('OptimizerHook', 'GradientStepHook', 'CheckpointHook',
                   'LrUpdaterHook')
PIPELINE: Kind = list_of(
    'a dict with a type', lambda step: _has_type(step) and fits(
        step.get('transforms', []), PIPELINE))
RULES = {
    'model data test_sets prediction runner optimizer_config lr_config '
    'momentum_config checkpoint_config evaluation log_config model.test_cfg '
    'model.train_cfg': dict,
    'work_dir data_root model.pretrained model.backbone.init_cfg.checkpoint':
        str,
    'model.tasks': list | tuple,
    'model.type': Kind(
        'MultiTaskSegmentor, or AdversarialSegmentor for stage 2',
        lambda name: fits(name, str) and not name.endswith('EncoderDecoder')),
    'model.backbone': Kind('one dict with a type', _has_type),
    'model.decode_head model.auxiliary_head': Kind(
        "one dict such as dict(type='MultiTaskHead', head=dict("
        "type='UPerHead', ...), loss_decode=...)",
        lambda value: _has_type(value) and (
            'head' in value or not value['type'].endswith('Head'))),
    'data.workers_per_gpu data.test_workers': whole(0, MOST_WORKERS),
}  # yapf: disable
"""dict[str, Any]: What settings must be, for any use of a config."""
REQUIRED = 'model data model.type model.tasks model.backbone model.decode_head'
DATASET = {
    'name img_dir data_root ann_suffix split fov_dir': str,
    'img_suffix': str | list | tuple,
    'ann_dirs pseudo_dirs': Kind(
        'a folder, or a dict with its path, by task',
        lambda value: fits(value, dict) and all(
            fits(entry, str | dict) for entry in value.values())),
    'weights': dict,
    'pipeline': PIPELINE,
    'test_mode allow_unlabelled': bool,
    'ignore_index threshold': float,
}  # yapf: disable
"""dict[str, Any]: What the settings of a PartialLabelDataset must be."""
TRAINING = RULES | {
    'custom_imports dist_params data.val data.test evaluation.start '
    'evaluation.save_best evaluation.rule evaluation.out_dir evaluation.metric'
    ' evaluation.pre_eval model.test_cfg.mode model.test_cfg.crop_size '
    'model.test_cfg.stride model.train_cfg.images_per_pass '
    'model.train_cfg.low_memory model.train_cfg.precision': object,
    'data.train optimizer optimizer_config.grad_clip': dict,
    'runner.max_iters evaluation.interval log_config.interval': whole(1),
    'data.samples_per_gpu': whole(1, 4096),
    'seed': whole(0, 2**64 - 1),
    'checkpoint_config.interval checkpoint_config.max_keep_ckpts': whole(-1),
    'compile cudnn_benchmark tf32 auto_resume accelerate '
    'checkpoint_config.save_last': bool,
    'load_from resume_from checkpoint_config.subfolder': str,
    'lr_config.by_epoch checkpoint_config.by_epoch evaluation.by_epoch '
    'momentum_config.by_epoch': Kind(
        'False, as runs count iterations', lambda value: not value),
    'log_level': one_of('DEBUG', 'INFO', 'WARNING', 'ERROR'),
    'precision': one_of('float32', 'fp16', 'bf16'),
    'workflow': Kind(
        "[('train', 1)]: evaluation.interval says when data.val is evaluated",
        lambda value: value in ([('train', 1)], [['train', 1]])),
    'optimizer.type optimizer.generator.type': Kind(
        'one that steps as AdamW does',
        lambda name: name not in ('LBFGS', 'SparseAdam')),
    'optimizer_config.type': Kind(
        "'GradientStepHook', with accumulate=N to gather gradients; "
        "precision='fp16' scales losses",
        lambda name: name == 'GradientStepHook'),
    'runner.type': one_of('CheckedIterRunner'),
    'checkpoint_config.type': one_of('SubfolderCheckpointHook'),
    'log_config.hooks': list_of(
        "such as dict(type='CompactTextLoggerHook'), without by_epoch=True",
        _is_hook),
    'custom_hooks': list_of(
        'a dict with a type, without by_epoch=True, and none that '
        'optimizer_config, lr_config and checkpoint_config give',
        lambda value: _is_hook(value) and not value['type'].endswith(
            HOOKS_ELSEWHERE)),
}  # yapf: disable
"""dict[str, Any]: What settings must be for training."""
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
CLOSED = ('data runner evaluation checkpoint_config log_config model.test_cfg '
          'model.train_cfg')
"""str: Parts of which nothing is read but the keys in ``TRAINING``."""
_ITERATIONS = 'runner.max_iters, as runs count iterations'
_LOADER = 'data.samples_per_gpu, data.workers_per_gpu or data.test_workers'
INSTEAD = {
    **dict.fromkeys(['fp16', 'amp'], "precision='fp16' (or 'bf16')"),
    **dict.fromkeys(['max_epochs', 'total_epochs', 'total_iters',
                     'runner.max_epochs'], _ITERATIONS),
    **dict.fromkeys([f'data.{part}_dataloader'
                     for part in ('train', 'val', 'test')], _LOADER),
}  # yapf: disable
"""dict[str, str]: Keys of other trainers, and what to write instead."""


def check_structure(cfg: Config) -> None:
    """Refuse what is not a config of MBOS, naming the first fault."""
    for problem in _problems(cfg):
        raise InvalidConfigError(problem)


def check_training(cfg: Config) -> list[str]:
    """Fill in what a config may leave out, in place, and refuse all that it
    asks for and would not get in training. Returns sentences on what is not
    read, and may stay."""
    for key, default in DEFAULTS.items():
        given = cfg.get(key) or default
        cfg[key] = {**default, **given} if fits(default, dict) else given
    cfg.evaluation.setdefault('interval', cfg.runner.get('max_iters'))
    problems = [*_unknown(filter(INSTEAD.get, cfg), (), '')]
    is_ours = cfg.model.type in ('MultiTaskSegmentor', 'AdversarialSegmentor')
    for where in CLOSED.split():
        if is_ours or not where.startswith('model.'):
            part = value_at(cfg, where) or ()
            problems += _unknown(part, _known(where), where)
    problems += _wrong(cfg, TRAINING, REQUIRED_IN_TRAINING)
    if problems:
        raise InvalidConfigError(f'{cfg.filename}: ' + '\n'.join(problems))
    parts = [key for key in cfg if fits(cfg[key], dict)]
    return [note for note in _unknown(parts, _known(''), '')
            if 'did you mean' in note]  # yapf: disable


def check_overrides(cfg: Mapping, options: Iterable[str]) -> None:
    """Refuse overrides whose keys look mistyped; warn of others that are new.
    Parts with a ``type`` are checked by whoever builds them."""
    for key in options:
        where, _, name = key.rpartition('.')
        while where and not isinstance(value_at(cfg, where), Mapping):
            where, _, name = where.rpartition('.')
        part = value_at(cfg, where) if where else cfg
        if name in part or 'type' in part or where.endswith('custom_keys'):
            continue
        for sentence in _unknown([name], [*part, *_known(where)], where):
            if 'did you mean' in sentence:
                raise ValueError(f'--cfg-options {key}: {sentence} If not, '
                                 'write the key into a config file.')
            warnings.warn(f'--cfg-options {key}: the config had no {name!r}; '
                          'it is added, but nothing may read it.')


def _known(where: str) -> list[str]:
    """Keys of a part, '' for the config itself, of which a rule tells."""
    start = f'{where}.'.lstrip('.')
    below = [key.removeprefix(start) for key in ' '.join(TRAINING).split()
             if key.startswith(start)]  # yapf: disable
    return sorted({key.partition('.')[0] for key in below})


def _wrong(config: object,
           rules: Mapping[str, Any],
           required: str,
           where: str = '') -> Iterator[str]:
    """Sentences on settings that are missing or not what they must be."""
    for keys, kind in rules.items():
        for key in keys.split():
            value = value_at(config, key)
            if value is None and key in required.split():
                yield f'{where}{key} is missing: see docs/configs.md.'
            elif value is not None and not fits(value, kind):
                words = getattr(kind, 'words', getattr(kind, '__name__', kind))
                yield f'{where}{key} is {value!r:.80}, expected {words}.'


def _unknown(part: Iterable[str], known: Iterable[str],
             where: str) -> Iterator[str]:
    """Sentences on keys of a part that nothing reads."""
    for key in part:
        name = f'{where}.{key}'.lstrip('.')
        remedy = f'there are {", ".join(known)}.'
        for alike in difflib.get_close_matches(str(key), known, 1, 0.75):
            remedy = f'did you mean {alike!r}?'
        if name in INSTEAD:
            remedy = f'write {INSTEAD[name]}.'
        if name in INSTEAD or key not in known:
            yield f'{name} is not read: {remedy}'


def _problems(cfg: Any) -> Iterator[str]:
    """What is wrong; each check relies on those before."""
    yield from _wrong(cfg, RULES, REQUIRED)
    try:
        build_tasks(cfg.model.tasks)
    except (TypeError, ValueError, AttributeError) as error:
        yield f'model.tasks: {error}'
    parts = {f'data.{k}': cfg.data.get(k) for k in ('train', 'val', 'test')}
    for name, part in (cfg.get('test_sets') or {}).items():
        parts[f'test_sets.{name}'] = part
    for key, part in parts.items():
        if part and not (key == 'data.test' and isinstance(part, str)):
            yield from _problems_of_datasets(part, key)


def _problems_of_datasets(given: Any, key: str) -> Iterator[str]:
    """What is not a dataset, or would repeat or mix others."""
    if isinstance(given, (list, tuple)):
        for member in given:
            yield from _problems_of_datasets(member, key)
    elif not _has_type(given) or 'dataset' in given or (
            key == 'data.train' and given['type'] == 'ConcatDataset'):
        yield f'{key} has {given!r:.60}, expected dict(type=' \
            "'PartialLabelDataset', ...), a list of such, or in data.train " \
            "dict(type='JointDataset', datasets=[...])."
    elif 'datasets' in given:
        yield from _wrong(given, {'datasets': list | tuple}, 'datasets',
                          f'{key}.')
        yield from _problems_of_datasets(given['datasets'], key)
    elif given['type'] == 'PartialLabelDataset':
        where = f'{key}, dataset {given.get("name")!r}: '
        yield from _wrong(given, DATASET, 'name img_dir pipeline', where)
