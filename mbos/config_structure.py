"""The structure of a config: what must be a dict, a list, a text, a number.

Whatever reads a config later may rely on it.
"""
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from mmcv import Config

from mbos.faults import InvalidConfigError
from mbos.tasks import build_tasks


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_folders(value: object) -> bool:
    """A folder by task, or a dict with it as its path."""
    return isinstance(value, dict) and all(
        isinstance(task, str) and (isinstance(entry, str) or (
            isinstance(entry, dict) and isinstance(entry.get('path'), str)))
        for task, entry in value.items())


def _is_positions(value: object) -> bool:
    values = value if isinstance(value, (list, tuple)) else [value]
    return all(isinstance(one, int) for one in values)


def _is_texts(value: object) -> bool:
    return isinstance(value, (list, tuple)) and all(map(_is_text, value))


def _is_numbers(value: object) -> bool:
    return isinstance(value, dict) and all(
        isinstance(k, str) and _is_number(v) for k, v in value.items())


def _is_thresholds(value: object) -> bool:
    """A number by task, or a number by class by task."""
    return isinstance(value, dict) and all(
        isinstance(k, str) and (_is_number(v) or _is_numbers(v))
        for k, v in value.items())


FOLDERS = (_is_folders, 'a dict of folders by task')
TEXT = (_is_text, 'a text')
FLAG = (lambda value: isinstance(value, bool), 'True or False')
DATASET = dict(
    name=TEXT,
    img_dir=TEXT,
    data_root=TEXT,
    img_suffix=(lambda value: _is_text(value) or (_is_texts(value) and value),
                'a suffix, or a list of them'),
    ann_suffix=TEXT,
    ann_dirs=FOLDERS,
    pseudo_dirs=FOLDERS,
    weights=(_is_numbers, 'a dict of numbers by task'),
    split=TEXT,
    fov_dir=TEXT,
    test_mode=FLAG,
    binary_truth=(_is_texts, 'a list of tasks'),
    allow_unlabelled=FLAG,
    pseudo_checkpoint_sha256=TEXT,
    ignore_index=(lambda value: isinstance(value, int), 'a label value'),
    threshold=(_is_number, 'a probability'))
"""dict[str, tuple]: What the settings of a PartialLabelDataset must be."""
BY_CLASS = (_is_thresholds, 'a dict of numbers by task, or by class by task')
PREDICTION = dict(
    crop=TEXT,
    thresholds=BY_CLASS,
    pipeline=(lambda value: isinstance(value,
                                       (list, tuple)), 'a list of transforms'),
    postprocessing=(lambda value: isinstance(value, dict), 'a dict of rules'))
RULES = dict(
    rim=(_is_number, 'a share of the field of view'),
    one_object=(_is_texts, 'a list of tasks'),
    specks=BY_CLASS)
"""dict[str, tuple]: Settings of prediction.postprocessing."""
HEAD = dict.fromkeys(
    ('in_index', 'in_channels'),
    (_is_positions, 'a whole number, or a list of whole numbers'))
"""dict[str, tuple]: Settings of a head that name maps of the backbone."""
REQUIRED = ('name', 'img_dir', 'pipeline')


def check_structure(cfg: Config) -> None:
    """Refuse a file that is not a config of MBOS.

    Raises:
        InvalidConfigError: If the network or the data are missing, or have
            another structure than expected.
    """
    for key in ('model', 'data'):
        if not isinstance(cfg.get(key), dict):
            raise InvalidConfigError(
                f'{cfg.filename} has no {key}, or one '
                'that is not a dict: see docs/configs.md.')
    for key in ('type', 'tasks'):
        if not cfg.model.get(key):
            raise InvalidConfigError(f'model has no {key}, see '
                                     'docs/configs.md.')
    _check_tasks(cfg.model.tasks)
    _check_model(cfg.model)
    if not isinstance(cfg.get('work_dir'), (str, type(None))):
        raise InvalidConfigError(f'work_dir is {cfg.work_dir!r}, expected the '
                                 'path of a folder.')
    if not isinstance(cfg.get('data_root'), (str, type(None))):
        raise InvalidConfigError(f'data_root is {cfg.data_root!r}, expected '
                                 'the path of a folder.')
    _check_prediction(cfg.get('prediction'), cfg.model.tasks)
    for key, given in _dataset_configs(cfg):
        if key == 'data.test' and isinstance(given, str):
            continue
        for one in given if isinstance(given, (list, tuple)) else [given]:
            _check_dataset(one, key)


def _check_tasks(given: object) -> None:
    try:
        build_tasks(given)  # type: ignore[arg-type]
    except (TypeError, ValueError, AttributeError) as error:
        raise InvalidConfigError(f'model.tasks: {error}') from error


def _check_model(model: dict) -> None:
    """Refuse the parts of mmseg's own segmentors."""
    if model['type'] in ('EncoderDecoder', 'CascadeEncoderDecoder'):
        raise InvalidConfigError(
            f'model.type is {model["type"]}, which knows one task: write '
            "'MultiTaskSegmentor', or 'AdversarialSegmentor' for stage 2.")
    for name in ('backbone', 'decode_head', 'auxiliary_head'):
        part = model.get(name)
        if part is None and name == 'auxiliary_head':
            continue
        if not isinstance(part, dict) or not isinstance(part.get('type'), str):
            raise InvalidConfigError(
                f'model.{name} is {part!r}, expected one dict with a type.')
        if name != 'backbone' and 'head' not in part and (
                part['type'].endswith('Head')
                and part['type'] != 'MultiTaskHead'):
            raise InvalidConfigError(
                f'model.{name}.type is {part["type"]}, which knows one task: '
                f"write dict(type='MultiTaskHead', head=dict(type="
                f"'{part['type']}', ...), loss_decode=...), which makes one "
                'for each task.')
        if isinstance(part.get('head'), dict):
            _check_kinds(part['head'], HEAD, f'model.{name}.head')
    init = model['backbone'].get('init_cfg')
    sources = [('model.pretrained', model.get('pretrained'))]
    if isinstance(init, dict):
        sources.append(
            ('model.backbone.init_cfg.checkpoint', init.get('checkpoint')))
    for name, source in sources:
        if not isinstance(source, (str, type(None))):
            raise InvalidConfigError(f'{name} is {source!r}, expected the '
                                     'path of a file, or None.')


def _check_prediction(given: object, tasks: Sequence) -> None:
    if given is None:
        return
    if not isinstance(given, dict):
        raise InvalidConfigError(f'prediction is {given!r}, expected a dict '
                                 f'of {", ".join(PREDICTION)}.')
    rules = given.get('postprocessing') or {}
    for place, part, kinds in (('prediction', given, PREDICTION),
                               ('prediction.postprocessing', rules, RULES)):
        _check_kinds(part, kinds, place)
        unknown = [key for key in part if key not in kinds]
        if unknown:
            raise InvalidConfigError(f'{place} has no {unknown[0]!r}: there '
                                     f'are {", ".join(kinds)}.')
    known = {task.name: task.classes for task in build_tasks(tasks)}
    for place, named in (('thresholds', given.get('thresholds')
                          or {}), ('postprocessing.specks', rules.get('specks')
                                   or {}),
                         ('postprocessing.one_object',
                          dict.fromkeys(rules.get('one_object') or ()))):
        _check_names(f'prediction.{place}', named, known)
    if given.get('pipeline') is not None:
        _check_pipeline(given['pipeline'], 'prediction.pipeline')


def _check_names(place: str, named: dict, known: dict) -> None:
    """Refuse names of tasks, and of classes by task, that there are not."""
    for task, value in named.items():
        names = list(value) if isinstance(value, dict) else []
        unknown = [n for n in names if n not in known.get(task, ())]
        if task not in known or unknown:
            raise InvalidConfigError(
                f'{place} names {(unknown or [task])[0]!r}, which is none of '
                f'{known.get(task) or tuple(known)}.')


def _dataset_configs(cfg: Config) -> Iterator[tuple[str, Any]]:
    for key in ('train', 'val', 'test'):
        yield f'data.{key}', cfg.data.get(key)
    sets = cfg.get('test_sets') or {}
    if not isinstance(sets, dict):
        raise InvalidConfigError(
            'test_sets is not a dict of test sets by name.')
    for name, one in sets.items():
        if not isinstance(one, dict):
            raise InvalidConfigError(f'test_sets.{name} is {one!r}, expected '
                                     'the dict of a dataset.')
        yield f'test_sets.{name}', one


def _check_dataset(dataset: object, key: str) -> None:
    """Refuse what is not a dataset, or would repeat or mix others."""
    if dataset is None:
        return
    if not isinstance(dataset, dict):
        raise InvalidConfigError(
            f'{key} has {dataset!r}, expected the dict of a '
            'dataset, or a list of such.')
    kind = dataset.get('type')
    if not isinstance(kind, str):
        raise InvalidConfigError(f'{key}: a dataset has no type, such as '
                                 "'PartialLabelDataset'.")
    if 'dataset' in dataset or (key == 'data.train'
                                and kind == 'ConcatDataset'):
        if key != 'data.train':
            raise InvalidConfigError(
                f'{key}.type is {kind}, which is not done here: give the '
                'datasets themselves, in a list where there are several.')
        raise InvalidConfigError(
            f'{key}.type is {kind}, which is not done here: name the datasets '
            "in data.train=dict(type='JointDataset', datasets=[...]), which "
            'gives an image of each in every iteration, shuffled without end.')
    if 'datasets' in dataset:
        members = dataset['datasets']
        if not isinstance(members, (list, tuple)) or not members:
            raise InvalidConfigError(
                f'{key}.datasets is {members!r}, expected a '
                'list of datasets.')
        for one in members:
            for each in one if isinstance(one, (list, tuple)) else [one]:
                _check_dataset(each, key)
    elif kind == 'PartialLabelDataset':
        _check_member(dataset, key)


def _check_member(dataset: dict, key: str) -> None:
    missing = [name for name in REQUIRED if dataset.get(name) is None]
    name = dataset.get('name')
    where = f'{key}, dataset {name!r}' if name else key
    if missing:
        raise InvalidConfigError(f'{where}: {missing[0]} is missing.')
    _check_kinds(dataset, DATASET, where)
    if dataset.get('tasks') is not None:
        _check_tasks(dataset['tasks'])
    _check_pipeline(dataset['pipeline'], f'{where}: pipeline')


def _check_kinds(given: dict, kinds: dict[str, tuple[Callable, str]],
                 where: str) -> None:
    for name, (is_right, expected) in kinds.items():
        value = given.get(name)
        if value is not None and not is_right(value):
            raise InvalidConfigError(
                f'{where}: {name} is {value!r}, expected {expected}.')


def _check_pipeline(steps: object, where: str) -> None:
    """Refuse what is not a list of transforms, also within another."""
    if not isinstance(steps, (list, tuple)) or not steps:
        raise InvalidConfigError(f'{where} is {steps!r}, expected a list of '
                                 'transforms.')
    for step in steps:
        if not isinstance(step, dict) or not isinstance(step.get('type'), str):
            raise InvalidConfigError(
                f'{where} has {step!r}, expected the dict of a transform with '
                'its type.')
        if 'transforms' in step:
            _check_pipeline(step['transforms'], where)
