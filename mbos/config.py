"""Reading configs and completing what they say only once."""
import copy
import difflib
import importlib
import os
import os.path as osp
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
from mmcv import Config, ConfigDict
from torch import nn

from mbos.config_overrides import check_overrides
from mbos.config_structure import check_structure
from mbos.faults import (InvalidConfigError, blamed_on, first_line, naming,
                         place_in_own_code)
from mbos.mmcv_ops import check_operators

PACKAGE = osp.dirname(osp.abspath(__file__))
REPOSITORY = osp.dirname(PACKAGE)
CONFIGS = next(
    filter(osp.isdir,
           (osp.join(folder, 'configs') for folder in (PACKAGE, REPOSITORY))),
    osp.join(PACKAGE, 'configs'))
"""str: The folder of all configs: beside the code where MBOS is installed, in
the checkout otherwise."""


def find_config(path: str) -> str:
    """A config of one's own, or one of MBOS, by its path or its name alone.

    Args:
        path (str): As the user gave it: a file, a path in ``configs``, or the
            name of a config there, with or without ``.py``.

    Raises:
        FileNotFoundError: If there is none; names those with similar names.
    """
    if osp.isfile(path):
        return path
    parts = path.replace(os.sep, '/').split('/')
    below = parts[1:] if parts[0] == 'configs' else parts
    known = {
        file.relative_to(CONFIGS).as_posix(): str(file)
        for file in sorted(Path(CONFIGS).rglob('*.py'))
    }
    if '/'.join(below) in known:
        return known['/'.join(below)]
    names: dict[str, list[str]] = {}
    for name in known:
        names.setdefault(name.split('/')[-1].removesuffix('.py'),
                         []).append(name)
    wanted = parts[-1].removesuffix('.py')
    if len(parts) == 1 and len(names.get(wanted, ())) == 1:
        return known[names[wanted][0]]
    similar = names.get(wanted) or [
        name for match in difflib.get_close_matches(wanted, names, 3)
        for name in names[match]
    ]
    hint = f' There is {", ".join(similar)}.' if similar else ''
    raise FileNotFoundError(
        f'Config {path!r} not found, neither from the working directory nor '
        f'in {CONFIGS}.{hint}')


def load_config(path: str, options: dict | None = None) -> Config:
    """Read a config, apply overrides, and complete its datasets.

    Datasets that name no ``tasks`` get the model's, and those without
    ``data_root`` the config's own; validation sets become one
    ``EvaluationSets``, and ``data.test`` may be a name in ``test_sets``.

    Raises:
        FileNotFoundError: If there is no such config.
        InvalidConfigError: If it cannot be read, has no network or no data, or
            holds values that are not plain ones.
        ValueError: If an override's key looks mistyped.
    """
    _register_parts()
    path = find_config(path)
    cfg = _read(path)
    with naming(path):
        if options:
            check_overrides(cfg._cfg_dict, options)
            with blamed_on('--cfg-options do not fit the config',
                           'Give keys and positions that it has.'):
                cfg.merge_from_dict(options)
        _make_plain(cfg)
        check_structure(cfg)
        if cfg.get('work_dir') is None:
            name = osp.splitext(osp.basename(path))[0]
            cfg.work_dir = osp.join('work_dirs', name)
        complete_datasets(cfg)
    return cfg


def _register_parts() -> None:
    """Whatever a config imports: those of version 0.1 name only ``mbos``."""
    importlib.import_module('mbos.registration')


def imported_packages(cfg: Config) -> set[str]:
    """Packages that a config imports by ``custom_imports``."""
    names = (cfg.get('custom_imports') or {}).get('imports') or []
    names = [names] if isinstance(names, str) else names
    return {name.split('.')[0] for name in names}


def _read(path: str) -> Config:
    """Read a config file, which may do anything as it is run."""
    try:
        return Config.fromfile(path)
    except Exception as error:
        if place_in_own_code(error):  # in a module of custom_imports
            raise
        reason = first_line(error)
        if isinstance(error, ImportError):
            # mmcv's own has no message
            reason = first_line(
                error if str(error) else error.__context__ or error)
            reason += '; is it where Python looks, as PYTHONPATH says?'
        raise InvalidConfigError(
            f'Config {path} cannot be read ({reason}). Correct it, or the '
            'configs in its _base_.') from error


def _make_plain(cfg: Config) -> None:
    """Leave nothing in a config that neither text nor checkpoints can hold.

    Numbers and arrays of NumPy and paths become plain ones. What a config
    imports for its own use, such as ``Path``, is dropped.

    Raises:
        InvalidConfigError: If a class, a function or another object is left.
    """
    content = cfg._cfg_dict
    for key in list(content):
        try:
            content[key] = _plain_value(content[key], key)
        except InvalidConfigError:
            if isinstance(content[key], (dict, list, tuple)):
                raise
            del content[key]


def _plain_value(value: object, key: str) -> object:
    if isinstance(value, dict):
        for name in list(value):
            value[name] = _plain_value(value[name], f'{key}.{name}')
        return value
    if isinstance(value, (list, tuple)):
        return type(value)(_plain_value(item, f'{key}.{i}')
                           for i, item in enumerate(value))
    if isinstance(value, (np.ndarray, np.generic)):
        return value.tolist()
    if isinstance(value, range):
        return list(value)
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if value is None or isinstance(value, (bool, int, float, str, bytes, set)):
        return value
    raise InvalidConfigError(
        f'The config has {value!r} as {key}: write numbers, texts, lists and '
        'dicts, and the name of a registered class as its type, since a run '
        'keeps its config as text.')


def complete_datasets(cfg: Config) -> None:
    """Hand the model's tasks and the config's data root to all datasets."""
    if isinstance(cfg.data.get('test'), str):
        cfg.data.test = copy.deepcopy(find_test_set(cfg, cfg.data.test))
    defaults = dict(
        tasks=cfg.model.tasks, data_root=cfg.get('data_root', None))
    for key in ('train', 'val', 'test'):
        if cfg.data.get(key) is not None:
            cfg.data[key] = _complete(cfg.data[key], defaults)
    train = cfg.data.get('train')
    if train is not None and 'datasets' not in train:
        cfg.data.train = ConfigDict(
            type='JointDataset', datasets=_as_list(train))
    val = cfg.data.get('val')
    if val is not None and ('datasets' not in val
                            or val.get('type') == 'ConcatDataset'):
        members = val['datasets'] if 'datasets' in val else _as_list(val)
        cfg.data.val = ConfigDict(type='EvaluationSets', datasets=members)
    for name, dataset in (cfg.get('test_sets') or {}).items():
        cfg.test_sets[name] = _complete(dataset, defaults)


def _as_list(value: object) -> list:
    return list(value) if isinstance(value, (list, tuple)) else [value]


def find_test_set(cfg: Config, name: str) -> dict:
    """Config of a test set.

    Raises:
        ValueError: If the config has no such test set.
    """
    sets = cfg.get('test_sets') or {}
    if name not in sets:
        raise ValueError(f'The config has no test set {name!r}: it has '
                         f'{", ".join(sets) or "none"}.')
    return sets[name]


def _complete(dataset, defaults):
    if isinstance(dataset, (list, tuple)):
        return [_complete(member, defaults) for member in dataset]
    dataset = copy.deepcopy(dataset)
    if 'datasets' in dataset:
        dataset['datasets'] = _complete(dataset['datasets'], defaults)
        return dataset
    for key, value in defaults.items():
        dataset.setdefault(key, copy.deepcopy(value))
    return dataset


def member_datasets(dataset) -> list[dict]:
    """The single datasets of a dataset config, joint or not."""
    if 'datasets' in dataset:
        dataset = dataset['datasets']
    if isinstance(dataset, dict):
        return [dataset]
    return [m for part in dataset for m in member_datasets(part)]


def build_checked(build: Callable, *args):
    """Build a part of a config, with one kind of error for what is wrong.

    Raises:
        InvalidConfigError: If the config names an unknown type, or settings
            that the type cannot be built with.
        MissingOperatorError: If a network needs mmcv-full.
    """
    _register_parts()
    kinds = [a['type'] for a in args if isinstance(a, dict) and 'type' in a]
    what = f'{kinds[0]}' if kinds else 'A part of the config'
    with blamed_on(f'{what} cannot be built as the config has it',
                   'Correct its settings.'):
        try:
            built = build(*args)
        except KeyError as error:
            if 'is not in the' not in str(error):
                raise
            raise InvalidConfigError(
                f'{error.args[0]}: correct `type` in the config, or name the '
                'module that registers it in custom_imports.') from error
        except AttributeError as error:
            if "no attribute 'parent'" not in str(error):
                raise  # what mmcv makes of a package that nobody imported
            raise InvalidConfigError(
                f'{first_line(error)}: a type with a dot names a part of '
                'another package, such as mmcls.ConvNeXt: name the module '
                'that registers it in custom_imports.') from error
        except TypeError as error:
            if not re.search('unexpected keyword|required .*argument',
                             str(error)):
                raise
            remedy = 'correct the config'
            if "Dataset.__init__() got an unexpected keyword argument " \
                    "'tasks'" in str(error):
                remedy = 'it knows one task, write PartialLabelDataset'
            raise InvalidConfigError(f'{error}: {remedy}.') from error
        if isinstance(built, nn.Module):
            check_operators(built)
    return built


def stage1_model_cfg(model_cfg: dict) -> dict:
    """The stage-1 network of a stage-2 one: without cross-task attention."""
    cfg = generator_model_cfg(model_cfg)
    cfg['type'] = 'MultiTaskSegmentor'
    cfg['decode_head'].pop('cross_task_attention', None)
    return cfg


def generator_model_cfg(model_cfg: dict) -> dict:
    """A network without what only stage 2's training needs.

    Returns:
        dict: A copy; of an ``AdversarialSegmentor`` a ``MultiTaskSegmentor``
        with the same predictions and no discriminators.
    """
    cfg = copy.deepcopy(model_cfg)
    if cfg['type'] == 'AdversarialSegmentor':
        cfg['type'] = 'MultiTaskSegmentor'
    for key in ('discriminator', 'adversarial_weights', 'pseudo_weight'):
        cfg.pop(key, None)
    return cfg


def plain(value):
    """A config part as built-in dicts, lists and tuples, copied."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(plain(item) for item in value)
    return value
