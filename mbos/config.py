"""Reading configs and completing what they say only once."""
import copy
import difflib
import os
import os.path as osp
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from types import NoneType
from typing import Any

import numpy as np
from mmcv import Config, ConfigDict
from torch import nn

from mbos.config_rules import check_overrides, check_structure, value_at
from mbos.faults import (InvalidConfigError, blamed_on, first_line, naming,
                         place_in_own_code)
from mbos.mmcv_ops import check_operators

_FOLDERS = [folder / 'configs' for folder in Path(__file__).absolute().parents]
CONFIGS = str(_FOLDERS[0] if _FOLDERS[0].is_dir() else _FOLDERS[1])
"""str: All configs: in the package where it is installed, or the checkout."""


def find_config(path: str) -> str:
    """A config file: one's own, or one of MBOS by its path in ``configs`` or
    its name, with or without ``.py``; an error names similar ones."""
    if osp.isfile(path):
        return path
    wanted = Path(path.removeprefix('configs/').removesuffix('.py') + '.py')
    paths = sorted(Path(CONFIGS).rglob('*.py'))
    files = [path.relative_to(CONFIGS) for path in paths]
    found = [f for f in files if wanted in (f, Path(f.name))]
    if len(found) == 1:
        return osp.join(CONFIGS, found[0])
    alike = difflib.get_close_matches(wanted.name, {f.name for f in files})
    similar = ', '.join(str(f) for f in files if f.name in alike)
    raise FileNotFoundError(
        f'Config {path!r} not found, neither from the working directory nor '
        f'in {CONFIGS}. There is {similar or "none with a similar name"}.')


def load_config(path: str, options: dict | None = None) -> Config:
    """Read a config, apply overrides, and complete its datasets: with tasks of
    the model and the config's ``data_root`` where they name none, and those of
    validation as one ``EvaluationSets``. A ValueError says what is wrong."""
    import_module('mbos.registration')  # configs of 0.1 name only "mbos"
    path = find_config(path)
    cfg = _read(path)
    with naming(path):
        if options:
            check_overrides(cfg._cfg_dict, options)
            with blamed_on('--cfg-options do not fit the config',
                           'Give keys and positions that it has.'):
                cfg.merge_from_dict(options)
        # what a config imports for its own use, such as Path, is dropped
        kept = {k: v for k, v in cfg._cfg_dict.items() if not callable(v)}
        cfg = Config(plain(kept), cfg.text, path)
        check_structure(cfg)
        if cfg.get('work_dir') is None:
            cfg.work_dir = osp.join('work_dirs', Path(path).stem)
        _complete_datasets(cfg)
    return cfg


def imported_packages(cfg: Config) -> set[str]:
    """Packages that a config imports by ``custom_imports``."""
    names = value_at(cfg, 'custom_imports.imports') or []
    return {name.split('.')[0] for name in np.atleast_1d(names)}


def _read_file(path: str, *args: Any) -> tuple[dict, str]:
    """Read a file; a base that is not there is one in ``configs``."""
    parts = () if osp.isfile(path) else Path(path).parts
    places = (Path(CONFIGS, *parts[i:]) for i in range(1, len(parts)))
    ours = next(filter(Path.is_file, places), path)
    return _mmcv_reads(str(ours), *args)


_mmcv_reads = Config._file2dict
Config._file2dict = staticmethod(_read_file)


def _read(path: str) -> Config:
    """Read a config file, which may do anything as it is run."""
    try:
        return Config.fromfile(path)
    except Exception as error:
        for frame, _ in traceback.walk_tb(error.__traceback__):
            # mmcv leaves it open, and Python would complain when it is closed
            with suppress(KeyError, FileNotFoundError):
                frame.f_locals['temp_config_file'].close()
        if place_in_own_code(error):  # in a module of custom_imports
            raise
        if isinstance(error, ImportError) and not str(error):  # mmcv's own
            error = error.__context__ or error
        raise InvalidConfigError(
            f'Config {path} cannot be read ({first_line(error)}). Correct it, '
            'the configs in its _base_, or PYTHONPATH, where Python looks for '
            'what is imported.') from error


def _complete_datasets(cfg: Config) -> None:
    """Hand the model's tasks and the config's data root to all datasets."""
    data, test_sets = cfg.data, cfg.get('test_sets') or {}
    if isinstance(data.get('test'), str):
        data.test = copy.deepcopy(find_test_set(cfg, data.test))
    given = [data.get(key) for key in ('train', 'val', 'test')]
    for part in filter(None, [*given, *test_sets.values()]):
        for dataset in member_datasets(part):
            dataset.setdefault('tasks', copy.deepcopy(cfg.model.tasks))
            dataset.setdefault('data_root', cfg.get('data_root'))
    for key, kind in (('train', 'JointDataset'), ('val', 'EvaluationSets')):
        part = data.get(key)
        if value_at(part, 'type') == 'ConcatDataset':
            part = part['datasets']
        if value_at(part, 'datasets') is None and part is not None:
            members = [part] if isinstance(part, Mapping) else list(part)
            data[key] = ConfigDict(type=kind, datasets=members)


def find_test_set(cfg: Config, name: str) -> dict:
    """Config of a test set, one of ``test_sets`` or else ``data.test`` by its
    name; a ValueError says which ones there are."""
    own = value_at(cfg, 'data.test.name')
    sets = {own: cfg.data.get('test')} if own else {}
    sets |= cfg.get('test_sets') or {}
    if name in sets:
        return sets[name]
    raise ValueError(f'The config has no test set {name!r}: it has '
                     f'{", ".join(sets) or "none"}.')


def member_datasets(dataset: Any) -> list[dict]:
    """The single datasets of a dataset config, joint or not."""
    if 'datasets' in dataset:
        dataset = dataset['datasets']
    if isinstance(dataset, dict):
        return [dataset]
    return [m for part in dataset for m in member_datasets(part)]


def build_checked(build: Callable, *args: Any) -> Any:
    """Build a part of a config; what cannot be built is refused by an
    ``InvalidConfigError`` or a ``MissingOperatorError``."""
    import_module('mbos.registration')
    kinds = [a['type'] for a in args if isinstance(a, dict) and 'type' in a]
    what = kinds[0] if kinds else 'A part of the config'
    with blamed_on(f'{what} cannot be built as the config has it',
                   'Correct type and settings.'):
        built = build(*args)
        if isinstance(built, nn.Module):
            check_operators(built)
    return built


def stage1_model_cfg(model_cfg: dict) -> dict:
    """The stage-1 network of a stage-2 one: without cross-task attention."""
    cfg = generator_model_cfg(model_cfg)
    cfg['decode_head'].pop('cross_task_attention', None)
    return cfg


def generator_model_cfg(model_cfg: dict) -> dict:
    """A network without what only stage 2's training needs."""
    cfg = copy.deepcopy(model_cfg)
    if cfg['type'] == 'AdversarialSegmentor':
        cfg['type'] = 'MultiTaskSegmentor'
    for key in ('discriminator', 'adversarial_weights', 'pseudo_weight'):
        cfg.pop(key, None)
    return cfg


def plain(value: Any, where: str = 'config') -> Any:
    """A config part as built-in dicts, lists, tuples, numbers and texts; an
    ``InvalidConfigError`` refuses what no text can hold."""
    if isinstance(value, dict):
        return {k: plain(item, f'{where}.{k}') for k, item in value.items()}
    if isinstance(value, (list, tuple, range)):
        kind = tuple if isinstance(value, tuple) else list
        return kind(plain(v, f'{where}.{i}') for i, v in enumerate(value))
    if isinstance(value, (np.ndarray, np.generic)):
        return value.tolist()
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, (int, float, str, bytes, set, NoneType)):
        return value
    raise InvalidConfigError(
        f'{where} is {value!r}: write numbers, texts, lists and dicts, and '
        'the name of a registered class as its type, since a run keeps its '
        'config as text.')
