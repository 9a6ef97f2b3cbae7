"""Reading configs and completing what they tell only once."""
import copy
import difflib
import importlib
import os
import os.path as osp
import re
from pathlib import Path
from typing import Callable, List, Optional

from mmcv import Config, ConfigDict
from torch import nn

from mbos.config_overrides import check_overrides
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

    Returns:
        str: A path that exists.

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


def load_config(path: str, options: Optional[dict] = None) -> Config:
    """Read a config, apply overrides, and complete its datasets.

    Datasets that name no ``tasks`` get the model's, and those without
    ``data_root`` the config's own; validation sets become one
    ``EvaluationSets``, and ``data.test`` may be a name in ``test_sets``.

    Args:
        path (str): The config file.
        options (dict, optional): Overrides of ``--cfg-options``.

    Returns:
        Config: The completed config, with ``work_dir`` set.

    Raises:
        FileNotFoundError: If there is no such config.
        ValueError: If an override's key looks mistyped.
    """
    _register_parts()
    path = find_config(path)
    cfg = Config.fromfile(path)
    if options:
        check_overrides(cfg._cfg_dict, options)
        cfg.merge_from_dict(options)
    if cfg.get('work_dir') is None:
        name = osp.splitext(osp.basename(path))[0]
        cfg.work_dir = osp.join('work_dirs', name)
    complete_datasets(cfg)
    return cfg


def _register_parts() -> None:
    """Whatever a config imports: those of version 0.1 name only ``mbos``."""
    importlib.import_module('mbos.registration')


def complete_datasets(cfg: Config) -> None:
    """Hand the model's tasks and the config's data root to all datasets.

    Args:
        cfg (Config): Changed in place.
    """
    if isinstance(cfg.data.get('test'), str):
        cfg.data.test = copy.deepcopy(find_test_set(cfg, cfg.data.test))
    defaults = dict(
        tasks=cfg.model.tasks, data_root=cfg.get('data_root', None))
    for key in ('train', 'val', 'test'):
        if cfg.data.get(key) is not None:
            cfg.data[key] = _complete(cfg.data[key], defaults)
    val = cfg.data.get('val')
    if val is not None and 'datasets' not in val:
        val = val if isinstance(val, list) else [val]
        cfg.data.val = ConfigDict(type='EvaluationSets', datasets=val)
    for name, dataset in (cfg.get('test_sets') or {}).items():
        cfg.test_sets[name] = _complete(dataset, defaults)


def find_test_set(cfg: Config, name: str) -> dict:
    """Config of a test set.

    Args:
        cfg (Config): With ``test_sets``.
        name (str): One of them.

    Returns:
        dict: Config of the dataset.

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


def member_datasets(dataset) -> List[dict]:
    """The single datasets of a dataset config, joint or not.

    Args:
        dataset (dict | list): Config of a dataset, or several.

    Returns:
        list[dict]: The members, or the dataset itself.
    """
    if 'datasets' in dataset:
        dataset = dataset['datasets']
    if isinstance(dataset, dict):
        return [dataset]
    return [m for part in dataset for m in member_datasets(part)]


def build_checked(build: Callable, *args):
    """Build a part of a config, with one kind of error for what is wrong.

    Args:
        build (callable): One of the frameworks' builders.
        *args: Its arguments.

    Returns:
        object: What it builds.

    Raises:
        ValueError: If the config names an unknown type, or arguments that the
            type does not take.
        MissingOperatorError: If a network needs mmcv-full.
    """
    _register_parts()
    try:
        built = build(*args)
    except KeyError as error:
        if 'is not in the' not in str(error):
            raise
        raise ValueError(
            f'{error.args[0]}: correct `type` in the config, or name the '
            'module that registers it in custom_imports.') from error
    except TypeError as error:
        if not re.search('unexpected keyword|required .*argument', str(error)):
            raise
        raise ValueError(f'{error}: correct the config.') from error
    if isinstance(built, nn.Module):
        check_operators(built)
    return built


def stage1_model_cfg(model_cfg: dict) -> dict:
    """The stage-1 network that goes with a stage-2 network.

    Args:
        model_cfg (dict): Config of an ``AdversarialSegmentor`` or a
            ``MultiTaskSegmentor``.

    Returns:
        dict: Config of a ``MultiTaskSegmentor`` without cross-task attention.
    """
    cfg = generator_model_cfg(model_cfg)
    cfg['type'] = 'MultiTaskSegmentor'
    cfg['decode_head'].pop('cross_task_attention', None)
    return cfg


def generator_model_cfg(model_cfg: dict) -> dict:
    """A network without what only stage 2's training needs.

    Args:
        model_cfg (dict): Config of a segmentor of either stage.

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
