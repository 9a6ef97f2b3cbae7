"""Loading checkpoints of either stage, ours and the authors'."""
import codecs
import json
import os.path as osp

import torch
from mmcv.utils import print_log
from torch import nn

from mbos.faults import first_of
from mbos.io.weights_file import read_safetensors, read_weights_only
from mbos.models.adversarial_segmentor import DISCRIMINATORS
from mbos.tasks import Task
from .foreign_state import own_weights, summarize, without_wrapper
from .release_layout import check_release_tasks, from_release, is_release_state
from .settings import PredictionSettings, settings_meta

SAFETENSORS = '.safetensors'
_ADDITIONS = ('decode_head.cross_task_attention.', 'auxiliary_head.')


class _LeftOut:
    """Stands for a NumPy value in the meta information, as for a palette.

    Nobody reads them, and NumPy would make arrays of objects out of any
    bytes, which crashes the interpreter, or worse.
    """

    def __init__(self, *args):
        pass

    def __setstate__(self, state):
        pass


_NUMPY = [(_LeftOut, f'numpy.{name}') for name in ('ndarray', 'dtype')] + [
    (_LeftOut, f'numpy.{core}.multiarray.{name}') for core in ('core', '_core')
    for name in ('_reconstruct', 'scalar')
] + [codecs.encode]


def read_checkpoint(path: str) -> dict:
    """Read a checkpoint without running code that it may hold.

    Returns:
        dict: ``state_dict``, ``meta`` and, if kept, ``optimizer``.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not a checkpoint, is truncated, or holds more than
            tensors and plain values.
    """
    if not osp.isfile(path):
        raise FileNotFoundError(f'Checkpoint {path!r} not found.')
    content = (
        _read_safetensors(path)
        if path.endswith(SAFETENSORS) else read_weights_only(path, _NUMPY))
    if not isinstance(content, dict):
        raise ValueError(f'{path} holds a {type(content).__name__}, expected '
                         'a dict with a state_dict.')
    if 'state_dict' not in content:
        content = dict(state_dict=content)
    content['meta'] = content.get('meta') or {}
    for key in ('meta', 'optimizer', 'state_dict', 'training_weights'):
        found = content.get(key, {})
        if not isinstance(found, dict):
            raise ValueError(
                f'{path}: its {key} is not a dict; copy it again, '
                'or take one of another iteration.')
        if key in ('state_dict', 'training_weights') and not all(
                isinstance(k, str) and isinstance(v, torch.Tensor)
                for k, v in found.items()):
            raise ValueError(f'{path}: its {key} is not a dict of tensors; '
                             'give a checkpoint of a segmentor.')
    content['state_dict'] = without_wrapper(content['state_dict'])
    return content


def _read_safetensors(path: str) -> dict:
    tensors, metadata = read_safetensors(path)
    try:
        meta = json.loads(metadata.get('mbos', '{}'))
    except (ValueError, RecursionError) as error:
        raise ValueError(f'{path}: its metadata "mbos" is not JSON; copy it '
                         'again, or take another file.') from error
    return dict(state_dict=tensors, meta=meta)


def load_weights(model: nn.Module,
                 path: str,
                 logger=None,
                 allow_missing: bool = False) -> dict:
    """Load a checkpoint into a segmentor, whole or not at all.

    Args:
        logger (logging.Logger, optional): Gets what was dropped and what was
            missing.
        allow_missing (bool): Whether the model may have whole parts that the
            checkpoint lacks, as when stage 2 starts from stage 1. Default:
            False; discriminators may always be lacking.

    Raises:
        ValueError: If tasks, stage or shapes do not fit.
    """
    content = read_checkpoint(path)
    state, notes = fit_weights(model, path, content, allow_missing)
    for note in notes:
        print_log(f'{path}: {note}', logger)
    model.load_state_dict(state, strict=False)
    return content['meta']


def fit_weights(model: nn.Module,
                path: str,
                content: dict,
                allow_missing: bool = False) -> tuple[dict, list[str]]:
    """Turn a checkpoint's weights into those of a segmentor, all checked.

    Args:
        model (nn.Module): The segmentor; it is not changed.

    Returns:
        tuple[dict, list[str]]: The state dict under our names, and sentences
        on everything that was dropped or is missing.

    Raises:
        ValueError: If tasks, stage or shapes do not fit.
    """
    own = model.state_dict()
    if is_release_state(content['state_dict']):
        state, notes = _translate(path, content, list(model.tasks.values()))
    else:
        state, notes = own_weights(content['state_dict'], own)
    _check_tasks(path, content['meta'], list(model.tasks.values()))
    check_shapes(path, state, own)
    _check_values(path, state)
    missing = [
        name for name in own
        if name not in state and not name.endswith('relative_position_index')
    ]
    unused = [
        name for name in state
        if name not in own and name.startswith(DISCRIMINATORS)
    ]
    state = {n: v for n, v in state.items() if n not in unused}
    unexpected = [name for name in state if name not in own]
    parts = {_part(name) for name in state}
    optional = DISCRIMINATORS + (_ADDITIONS if allow_missing else ())
    lacking = [
        name for name in missing
        if not name.startswith(optional) or _part(name) in parts
    ]
    if unexpected or lacking:
        raise ValueError(
            _mismatch(path, content['meta'], model, lacking, unexpected))
    if missing:
        notes.append(f'missing, left as initialised: {summarize(missing)}')
    if unused:
        notes.append(
            f'not used here: {len(unused)} weights of the discriminators')
    return state, notes


def _translate(path: str, content: dict, tasks: list[Task]):
    """A released file's weights under our names, and what is left behind."""
    try:
        check_release_tasks(content['state_dict'], tasks)
        state, dropped = from_release(content['state_dict'], tasks)
    except ValueError as error:
        raise ValueError(f'{path}, released by the authors, does not fit the '
                         f'config: {error}') from error
    notes = ['released by the authors, names converted']
    if dropped:
        notes.append(f'{len(dropped)} tensors without use dropped: '
                     f'{summarize(dropped)}')
    return state, notes + left_behind(content)


def left_behind(content: dict) -> list[str]:
    """Sentences on what a checkpoint holds beside weights."""
    notes = []
    optimizer = content.get('optimizer')
    if optimizer:
        single = 'state' in optimizer and 'param_groups' in optimizer
        names = '' if single else f' of {", ".join(map(str, optimizer))}'
        notes.append(f'optimizer states{names} dropped')
    if content['meta']:
        notes.append('meta dropped: ' + ', '.join(map(str, content['meta'])))
    others = set(content) - {'state_dict', 'optimizer', 'meta'}
    if others:
        notes.append('dropped: ' + ', '.join(sorted(map(str, others))))
    return notes


def _part(name: str) -> str:
    """The part of a network that comes and goes as a whole."""
    depth = 2 if name.startswith('decode_head') else 1
    return '.'.join(name.split('.')[:depth])


def _check_tasks(path: str, meta: dict, tasks: list[Task]) -> None:
    stored = meta.get('mbos_tasks')
    if stored is None:
        return
    try:
        theirs = {
            str(t['name']): (tuple(map(str, t['classes'])), bool(t['nested']))
            for t in stored
        }
    except (TypeError, KeyError) as error:
        raise ValueError(f'{path} describes its tasks in a way that cannot '
                         'be understood: copy it again.') from error
    ours = {t.name: (t.classes, t.nested) for t in tasks}
    if theirs != ours:
        raise ValueError(
            f'{path} was trained for the tasks {_listed(theirs)}, '
            f'the config has {_listed(ours)}: use the config it '
            'was trained with.')


def _listed(tasks: dict) -> str:
    return '; '.join(f'{name} ({", ".join(classes)}'
                     f'{", nested" if nested else ""})'
                     for name, (classes, nested) in tasks.items())


def check_shapes(path: str, state: dict, own: dict) -> None:
    """Refuse weights that have other shapes than a network's.

    Raises:
        ValueError: Naming some of them.
    """
    wrong = [
        f'{name}: {tuple(value.shape)} instead of {tuple(own[name].shape)}'
        for name, value in state.items()
        if name in own and own[name].shape != value.shape
    ]
    if wrong:
        raise ValueError(
            f'{path} belongs to a network of another size '
            f'({first_of(wrong)}): use the config it was trained with.')


def _check_values(path: str, state: dict) -> None:
    wrong = [n for n, v in state.items() if not torch.isfinite(v).all()]
    if wrong:
        raise ValueError(
            f'{path} holds weights that are NaN or infinite '
            f'({summarize(wrong)}): the run diverged, or the file is damaged; '
            'take a checkpoint of an earlier iteration.')


def _mismatch(path: str, meta: dict, model: nn.Module, missing: list[str],
              unexpected: list[str]) -> str:
    stage = meta.get('mbos_stage')
    parts = [f'{path} does not fit the config.']
    if stage is not None and stage != model.stage:
        parts.append(f'It is of stage {stage!r}, the config is of stage '
                     f'{model.stage!r}.')
    if missing:
        parts.append(f'It lacks {len(missing)} weights: {first_of(missing)}.')
    if unexpected:
        parts.append(f'It has {len(unexpected)} weights without a place: '
                     f'{first_of(unexpected)}.')
    parts.append('Use the config that it was trained with.')
    return ' '.join(parts)


def checkpoint_meta(model: nn.Module,
                    model_cfg: dict | None,
                    settings: PredictionSettings | None = None) -> dict:
    """What a checkpoint holds about its network and its use.

    Returns:
        dict: ``mbos_tasks``, ``mbos_stage``, ``mbos_model``, and what
        ``settings_meta`` adds; all in plain types.
    """
    tasks = list(model.tasks.values())
    return dict(
        mbos_tasks=[task.as_config() for task in tasks],
        mbos_stage=model.stage,
        mbos_model=model_cfg,
        **settings_meta(tasks, settings))
