"""What a config may say, checked when it is read, whoever reads it.

A rule is a key with dots and a :class:`Kind`: a condition, and the words for
it in a sentence. Rules of training alone are in ``engine/config_checks.py``.
"""
import difflib
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from mbos.faults import InvalidConfigError
from mbos.tasks import build_tasks

MOST_WORKERS = max(64, 4 * (os.cpu_count() or 1))
"""int: Each is a process; more of them than this only fill the memory."""
SIMILAR = 0.75
"""float: How much alike a mistyped key and the one that was meant are."""
KNOWN = {
    where: tuple(keys.split())
    for where, keys in {
        '':
        'accelerate aug_test auto_resume checkpoint_config compile '
        'cudnn_benchmark custom_hooks custom_imports data data_root '
        'dist_params evaluation load_from log_config log_level lr_config '
        'model momentum_config optimizer optimizer_config precision '
        'prediction resume_from runner seed test_sets tf32 work_dir workflow',
        'data':
        'samples_per_gpu workers_per_gpu test_workers train val test',
        'runner':
        'type max_iters',
        'evaluation':
        'interval start metric pre_eval save_best rule greater_keys less_keys '
        'out_dir by_epoch gpu_collect tmpdir broadcast_bn_buffer',
        'checkpoint_config':
        'type interval by_epoch subfolder max_keep_ckpts save_optimizer '
        'save_last sync_buffer create_symlink meta',
        'log_config':
        'interval hooks',
        'model.test_cfg':
        'mode crop_size stride',
        'model.train_cfg':
        'images_per_pass low_memory precision',
        'prediction':
        'crop pipeline postprocessing thresholds',
        'prediction.postprocessing':
        'rim one_object specks',
    }.items()
}
"""dict[str, tuple[str]]: Keys that are read of a config and of its parts."""


class Kind(NamedTuple):
    """What a setting must be."""

    is_right: Callable[[Any], bool]
    expected: str


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def is_list_of(value: object, is_right: Callable[[Any], bool]) -> bool:
    """Whether a value is a list or tuple of values for which that holds."""
    return isinstance(value, (list, tuple)) and all(map(is_right, value))


def _is_dict_of(value: object, is_right: Callable[[Any], bool]) -> bool:
    return isinstance(value, Mapping) and all(
        isinstance(key, str) and is_right(item) for key, item in value.items())


def has_type(value: object) -> bool:
    """Whether a value is a dict with the name of a registered class."""
    return isinstance(value, Mapping) and isinstance(value.get('type'), str)


def whole_number(least: int, most: float = math.inf) -> Kind:
    """A whole number within limits."""
    return Kind(
        lambda value: isinstance(value, int) and _is_number(value) and least <=
        value <= most, f'a whole number from {least} ' +
        ('up' if most == math.inf else f'to {most}'))


def one_of(*choices: Any) -> Kind:
    """One of few values."""
    return Kind(lambda value: value in choices,
                ' or '.join(map(repr, choices)))


def rules_of(keys: Mapping[Kind, str]) -> dict[str, Kind]:
    """Rules by key, of keys in a text by what they must be."""
    return {key: kind for kind, text in keys.items() for key in text.split()}


def _is_folder(value: object) -> bool:
    return isinstance(value, str) or isinstance(value, Mapping) and isinstance(
        value.get('path'), str)


def _is_pipeline(value: object) -> bool:
    return bool(value) and is_list_of(
        value, lambda step: has_type(step) and
        ('transforms' not in step or _is_pipeline(step['transforms'])))


TEXT = Kind(lambda value: isinstance(value, str), 'a text')
PATH = Kind(TEXT.is_right, 'a path')
FLAG = Kind(lambda value: isinstance(value, bool), 'True or False')
DICT = Kind(lambda value: isinstance(value, Mapping), 'a dict')
PART = Kind(has_type, 'one dict with a type')
TEXTS = Kind(lambda value: is_list_of(value, TEXT.is_right), 'a list of texts')
SUFFIX = Kind(
    lambda value: TEXT.is_right(value) or value and TEXTS.is_right(value),
    'a suffix, or a list of them')
NUMBER = Kind(_is_number, 'a number')
NUMBERS = Kind(lambda value: _is_dict_of(value, _is_number),
               'a dict of numbers by task')
FOLDERS = Kind(lambda value: _is_dict_of(value, _is_folder),
               'a dict of folders by task')
BY_CLASS = Kind(
    lambda value: _is_dict_of(
        value, lambda one: _is_number(one) or NUMBERS.is_right(one)),
    'a dict of numbers by task, or by class by task')
POSITIONS = Kind(
    lambda value: isinstance(value, int) or is_list_of(
        value, lambda one: isinstance(one, int)),
    'a whole number, or a list of whole numbers')
PIPELINE = Kind(_is_pipeline, 'a list of transforms, each a dict with a type')
STRUCTURE = rules_of({
    DICT: 'model data test_sets prediction prediction.postprocessing',
    TEXT: 'model.type prediction.crop',
    PATH: 'model.pretrained model.backbone.init_cfg.checkpoint work_dir '
          'data_root',
    PART: 'model.backbone model.decode_head model.auxiliary_head',
    POSITIONS: 'model.decode_head.head.in_index '
               'model.decode_head.head.in_channels '
               'model.auxiliary_head.head.in_index '
               'model.auxiliary_head.head.in_channels',
    whole_number(0, MOST_WORKERS): 'data.workers_per_gpu data.test_workers',
    PIPELINE: 'prediction.pipeline',
    BY_CLASS: 'prediction.thresholds prediction.postprocessing.specks',
    NUMBER: 'prediction.postprocessing.rim',
    TEXTS: 'prediction.postprocessing.one_object',
})  # yapf: disable
"""dict[str, Kind]: What parts of a config must be where they are there."""
REQUIRED = ('model', 'data', 'model.type', 'model.tasks', 'model.backbone',
            'model.decode_head')
DATASET = rules_of({
    TEXT: 'name img_dir data_root ann_suffix split fov_dir',
    SUFFIX: 'img_suffix',
    FOLDERS: 'ann_dirs pseudo_dirs',
    PIPELINE: 'pipeline',
    NUMBERS: 'weights',
    FLAG: 'test_mode allow_unlabelled',
    NUMBER: 'ignore_index threshold',
})  # yapf: disable
"""dict[str, Kind]: What the settings of a PartialLabelDataset must be."""


def value_at(config: object, path: str) -> Any:
    """The value at a key with dots, None where there is none."""
    for key in path.split('.'):
        if not hasattr(config, 'get'):  # a dict, or mmcv's Config
            return None
        config = config.get(key)
    return config


def wrong_values(config: object,
                 rules: Mapping[str, Kind],
                 where: str = '') -> Iterator[str]:
    """Sentences on settings that are there and not what they must be."""
    for path, kind in rules.items():
        value = value_at(config, path)
        if value is not None and not kind.is_right(value):
            yield f'{where}{path} is {value!r}, expected {kind.expected}.'


def unknown_keys(part: Iterable[str],
                 known: Iterable[str],
                 where: str,
                 instead: Mapping[str, str] | None = None) -> Iterator[str]:
    """Sentences on keys of a part that nothing reads.

    ``instead`` says what to write in place of such a key.
    """
    for key in part:
        if key in known:
            continue
        name = f'{where}.{key}'
        alike = difflib.get_close_matches(str(key), known, 1, SIMILAR)
        if instead and name in instead:
            yield f'{name} is not read: {instead[name]}.'
        elif alike:
            yield f'{name} is not read: did you mean {alike[0]!r}?'
        else:
            yield f'{name} is not read: there are {", ".join(known)}.'


def check_structure(cfg: Mapping) -> None:
    """Refuse a file that is not a config of MBOS.

    Raises:
        InvalidConfigError: If the network or the data are missing, or have
            another structure than expected; names the first fault.
    """
    for problem in _problems(cfg):
        raise InvalidConfigError(problem)


def _problems(cfg: Any) -> Iterator[str]:
    """What is wrong; each check relies on those before."""
    yield from wrong_values(cfg, STRUCTURE)
    for path in REQUIRED:
        if not value_at(cfg, path):
            yield f'{path} is missing: the config has no such part, see ' \
                'docs/configs.md.'
    yield from _problems_of_tasks(cfg.model.tasks)
    for where in ('model', 'model.decode_head', 'model.auxiliary_head'):
        part = value_at(cfg, where) or {}
        kind = part.get('type')
        if kind in ('EncoderDecoder', 'CascadeEncoderDecoder') or (
                where != 'model' and kind and kind.endswith('Head')
                and kind != 'MultiTaskHead' and 'head' not in part):
            yield f'{where}: {kind} knows one task; write ' \
                'MultiTaskSegmentor, or AdversarialSegmentor for stage 2, ' \
                "and heads as dict(type='MultiTaskHead', head=dict(type=" \
                "'UPerHead', ...), loss_decode=...)."
    yield from _problems_of_prediction(cfg)
    for key in ('train', 'val', 'test'):
        given = cfg.data.get(key)
        if key != 'test' or not isinstance(given, str):
            yield from _problems_of_datasets(given, f'data.{key}')
    for name, dataset in (cfg.get('test_sets') or {}).items():
        yield from _problems_of_datasets(dataset, f'test_sets.{name}')


def _problems_of_tasks(given: Any) -> Iterator[str]:
    try:
        build_tasks(given)
    except (TypeError, ValueError, AttributeError) as error:
        yield f'model.tasks: {error}'


def _problems_of_prediction(cfg: Any) -> Iterator[str]:
    for where in ('prediction', 'prediction.postprocessing'):
        yield from unknown_keys(
            value_at(cfg, where) or (), KNOWN[where], where)
    classes = {
        task.name: task.classes
        for task in build_tasks(cfg.model.tasks)
    }
    for key in ('thresholds', 'postprocessing.specks',
                'postprocessing.one_object'):
        where = f'prediction.{key}'
        named = value_at(cfg, where) or {}
        yield from unknown_keys(named, classes, where)
        for task in named if isinstance(named, Mapping) else ():
            if isinstance(named[task], Mapping):
                yield from unknown_keys(named[task], classes[task],
                                        f'{where}.{task}')


def _problems_of_datasets(given: Any, key: str) -> Iterator[str]:
    """What is not a dataset, or would repeat or mix others."""
    if given is None:
        return
    if isinstance(given, (list, tuple)):
        for member in given:
            yield from _problems_of_datasets(member, key)
        return
    several = "dict(type='JointDataset', datasets=[...])" \
        if key == 'data.train' else 'a list'
    if not has_type(given):
        found = repr(given)[:60]
        yield f"{key} has {found}, expected dict(type='PartialLabelDataset'" \
            f', ...), or {several} of such.'
    elif 'dataset' in given or (key == 'data.train'
                                and given['type'] == 'ConcatDataset'):
        yield f'{key}.type is {given["type"]}, which is not done here: give ' \
            f'the datasets themselves, or {several} of them.'
    elif 'datasets' in given:
        members = given['datasets']
        if not isinstance(members, (list, tuple)) or not members:
            yield f'{key}.datasets is {members!r}, expected a list of ' \
                'datasets.'
        yield from _problems_of_datasets(members, key)
    elif given['type'] == 'PartialLabelDataset':
        name = given.get('name')
        where = f'{key}, dataset {name!r}: ' if name else f'{key}: '
        for required in ('name', 'img_dir', 'pipeline'):
            if given.get(required) is None:
                yield f'{where}{required} is missing.'
        yield from wrong_values(given, DATASET, where)
        if given.get('tasks') is not None:
            yield from _problems_of_tasks(given['tasks'])
