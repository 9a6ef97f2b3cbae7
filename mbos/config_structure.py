"""The structure of a config: what must be a dict, a list, a text, a number.

Whatever reads a config later may rely on it.
"""
from collections.abc import Iterator, Mapping
from typing import Any

from mmcv import Config

from mbos.config_rules import (DICT, FLAG, KNOWN, MOST_WORKERS, PART, PATH,
                               TEXT, TEXTS, Kind, has_type, is_dict_of,
                               is_list_of, is_number, unknown_keys, value_at,
                               whole_number, wrong_values)
from mbos.faults import InvalidConfigError
from mbos.tasks import build_tasks


def _is_folder(value: object) -> bool:
    return isinstance(value, str) or isinstance(value, Mapping) and isinstance(
        value.get('path'), str)


def _is_threshold(value: object) -> bool:
    return is_number(value) or is_dict_of(value, is_number)


FOLDERS = Kind(lambda value: is_dict_of(value, _is_folder),
               'a dict of folders by task')
BY_CLASS = Kind(lambda value: is_dict_of(value, _is_threshold),
                'a dict of numbers by task, or by class by task')
POSITIONS = Kind(
    lambda value: isinstance(value, int) or is_list_of(
        value, lambda one: isinstance(one, int)),
    'a whole number, or a list of whole numbers')
WORKERS = whole_number(0, MOST_WORKERS)
REQUIRED = ('model', 'data', 'model.type', 'model.tasks', 'model.backbone',
            'model.decode_head')
STRUCTURE = {
    **dict.fromkeys(('model', 'data', 'test_sets', 'prediction',
                     'prediction.postprocessing'), DICT),
    'model.type': TEXT,
    **dict.fromkeys(('model.backbone', 'model.decode_head',
                     'model.auxiliary_head'), PART),
    **dict.fromkeys(('model.decode_head.head.in_index',
                     'model.decode_head.head.in_channels',
                     'model.auxiliary_head.head.in_index',
                     'model.auxiliary_head.head.in_channels'), POSITIONS),
    **dict.fromkeys(('model.pretrained', 'model.backbone.init_cfg.checkpoint',
                     'work_dir', 'data_root'), PATH),
    'data.workers_per_gpu': WORKERS,
    'data.test_workers': WORKERS,
    'prediction.crop': TEXT,
    'prediction.thresholds': BY_CLASS,
    'prediction.postprocessing.rim': Kind(is_number,
                                          'a share of the field of view'),
    'prediction.postprocessing.one_object': TEXTS,
    'prediction.postprocessing.specks': BY_CLASS,
}  # yapf: disable
"""dict[str, Kind]: What parts of a config must be where they are there."""
DATASET = {
    **dict.fromkeys(('name', 'img_dir', 'data_root', 'ann_suffix', 'split',
                     'fov_dir'), TEXT),
    'img_suffix': Kind(lambda value: TEXT.is_right(value) or
                       (TEXTS.is_right(value) and value),
                       'a suffix, or a list of them'),
    'ann_dirs': FOLDERS,
    'pseudo_dirs': FOLDERS,
    'weights': Kind(lambda value: is_dict_of(value, is_number),
                    'a dict of numbers by task'),
    'test_mode': FLAG,
    'allow_unlabelled': FLAG,
    'ignore_index': Kind(lambda value: isinstance(value, int),
                         'a label value'),
    'threshold': Kind(is_number, 'a probability'),
}  # yapf: disable
"""dict[str, Kind]: What the settings of a PartialLabelDataset must be."""


def check_structure(cfg: Config) -> None:
    """Refuse a file that is not a config of MBOS.

    Raises:
        InvalidConfigError: If the network or the data are missing, or have
            another structure than expected; names the first fault.
    """
    for problem in _problems(cfg):
        raise InvalidConfigError(problem)


def _problems(cfg: Config) -> Iterator[str]:
    """What is wrong; each check relies on those before."""
    yield from wrong_values(cfg, STRUCTURE)
    for path in REQUIRED:
        if not value_at(cfg, path):
            *part, name = path.split('.')
            yield f'{".".join(part) or "The config"} has no {name}: see ' \
                'docs/configs.md.'
    yield from _problems_of_tasks(cfg.model.tasks)
    yield from _problems_of_model(cfg.model)
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


def _problems_of_model(model: Mapping) -> Iterator[str]:
    """Parts that mmseg's own segmentors have."""
    if model['type'] in ('EncoderDecoder', 'CascadeEncoderDecoder'):
        yield f'model.type is {model["type"]}, which knows one task: write ' \
            "'MultiTaskSegmentor', or 'AdversarialSegmentor' for stage 2."
    for name in ('decode_head', 'auxiliary_head'):
        head = model.get(name) or {}
        kind = head.get('type', '')
        if 'head' not in head and kind != 'MultiTaskHead' \
                and kind.endswith('Head'):
            yield f'model.{name}.type is {kind}, which knows one task: ' \
                f"write dict(type='MultiTaskHead', head=dict(type='{kind}', " \
                '...), loss_decode=...), which makes one for each task.'


def _problems_of_prediction(cfg: Config) -> Iterator[str]:
    for where in ('prediction', 'prediction.postprocessing'):
        yield from unknown_keys(
            value_at(cfg, where) or (), KNOWN[where], where)
    if value_at(cfg, 'prediction.pipeline') is not None:
        yield from _problems_of_pipeline(cfg.prediction.pipeline,
                                         'prediction.pipeline')
    known = {task.name: task.classes for task in build_tasks(cfg.model.tasks)}
    for key in ('thresholds', 'postprocessing.specks',
                'postprocessing.one_object'):
        named = value_at(cfg, f'prediction.{key}') or {}
        for task in named:
            classes = named[task] if isinstance(named, Mapping) else ()
            classes = classes if isinstance(classes, Mapping) else ()
            unknown = [n for n in classes if n not in known.get(task, ())]
            if task not in known or unknown:
                yield f'prediction.{key} names {[*unknown, task][0]!r}, ' \
                    f'which is none of {known.get(task) or tuple(known)}.'


def _problems_of_datasets(given: object, key: str) -> Iterator[str]:
    """What is not a dataset, or would repeat or mix others."""
    if given is None:
        return
    if isinstance(given, (list, tuple)):
        for one in given:
            yield from _problems_of_datasets(one, key)
        return
    if not isinstance(given, Mapping):
        yield f'{key} has {given!r}, expected the dict of a dataset, or a ' \
            'list of such.'
    elif not has_type(given):
        if isinstance(given.get('datasets'), (list, tuple)):
            kind = 'JointDataset' if key == 'data.train' else 'EvaluationSets'
            yield f'{key} has datasets but no type; add type={kind!r}.'
        yield f'{key}: a dataset has no type, such as \'PartialLabelDataset\'.'
    elif 'dataset' in given or (key == 'data.train'
                                and given['type'] == 'ConcatDataset'):
        yield f'{key}.type is {given["type"]}, which is not done here: ' + (
            "name the datasets in data.train=dict(type='JointDataset', "
            'datasets=[...]), which gives an image of each in every '
            'iteration, shuffled without end.' if key == 'data.train' else
            'give the datasets themselves, in a list where there are several.')
    elif 'datasets' in given:
        members = given['datasets']
        if not isinstance(members, (list, tuple)) or not members:
            yield f'{key}.datasets is {members!r}, expected a list of ' \
                'datasets.'
        yield from _problems_of_datasets(members, key)
    elif given['type'] == 'PartialLabelDataset':
        yield from _problems_of_member(given, key)


def _problems_of_member(dataset: Mapping, key: str) -> Iterator[str]:
    name = dataset.get('name')
    where = f'{key}, dataset {name!r}: ' if name else f'{key}: '
    for required in ('name', 'img_dir', 'pipeline'):
        if dataset.get(required) is None:
            yield f'{where}{required} is missing.'
    yield from wrong_values(dataset, DATASET, where)
    if dataset.get('tasks') is not None:
        yield from _problems_of_tasks(dataset['tasks'])
    yield from _problems_of_pipeline(dataset['pipeline'], f'{where}pipeline')


def _problems_of_pipeline(steps: object, where: str) -> Iterator[str]:
    """What is not a list of transforms, also within another."""
    if not isinstance(steps, (list, tuple)) or not steps:
        yield f'{where} is {steps!r}, expected a list of transforms.'
        return
    for step in steps:
        if not has_type(step):
            yield f'{where} has {step!r}, expected the dict of a transform ' \
                'with its type.'
        elif 'transforms' in step:
            yield from _problems_of_pipeline(step['transforms'], where)
