"""Loading checkpoints of either stage, ours and the authors'."""
import codecs
import json
import os.path as osp
from collections.abc import Sequence

import torch
from mmcv.utils import print_log
from torch import nn

from mbos.faults import first_of
from mbos.io.weights_file import read_safetensors, read_weights_only
from mbos.models.adversarial_segmentor import DISCRIMINATORS
from mbos.tasks import build_tasks
from .foreign_state import own_weights, without_wrapper
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
    for key in ('meta', 'optimizer', 'state_dict'):
        if not isinstance(content.get(key, {}), dict):
            raise ValueError(f'{path}: its {key} is not a dict: copy it '
                             'again, or take one of another iteration.')
    if not all(
            isinstance(name, str) and isinstance(value, torch.Tensor)
            for name, value in content['state_dict'].items()):
        raise ValueError(f'{path}: its state_dict is not a dict of tensors: '
                         'give a checkpoint of a segmentor.')
    content['state_dict'] = without_wrapper(content['state_dict'])
    return content


def _read_safetensors(path: str) -> dict:
    tensors, metadata = read_safetensors(path)
    try:
        meta = json.loads(metadata.get('mbos', '{}'))
    except (ValueError, RecursionError) as error:
        raise ValueError(f'{path}: its metadata "mbos" is not JSON: copy it '
                         'again, or take another file.') from error
    return dict(state_dict=tensors, meta=meta)


def load_weights(model: nn.Module,
                 path: str,
                 logger=None,
                 allow_missing: bool = False) -> None:
    """Load a checkpoint into a segmentor, whole or not at all.

    Args:
        logger (logging.Logger, optional): Gets what was dropped and what was
            missing.
        allow_missing (bool): Whether training starts here: the model may have
            whole parts that the checkpoint lacks, as when stage 2 starts from
            stage 1, and other tasks, whose parts are left as initialised.
            Default: False; discriminators may always be lacking.

    Raises:
        ValueError: If tasks, stage or shapes do not fit.
    """
    content = read_checkpoint(path)
    state, notes = fit_weights(model, path, content, allow_missing)
    for note in notes:
        print_log(f'{path}: {note}', logger)
    model.load_state_dict(state, strict=False)


def fit_weights(model: nn.Module,
                path: str,
                content: dict,
                allow_missing: bool = False) -> tuple[dict, list[str]]:
    """Turn a checkpoint's weights into those of a segmentor, all checked.

    The segmentor is not changed; ``allow_missing`` as of
    :func:`load_weights`.

    Returns:
        tuple[dict, list[str]]: The state dict under our names, and sentences
        on everything that was dropped or is missing.

    Raises:
        ValueError: If tasks, stage or shapes do not fit.
    """
    own = model.state_dict()
    state, notes = _translated(path, content, model)
    changed = _changed_tasks(path, content, model, allow_missing)
    if changed:
        state = {n: v for n, v in state.items() if not _is_of(n, changed)}
        notes.append('nothing is taken over of the tasks that it and the '
                     f'config do not share: {", ".join(changed)}')
    broken = [n for n, v in state.items() if not v.isfinite().all()]
    if broken:
        raise ValueError(
            f'{path} holds weights that are NaN or infinite '
            f'({first_of(broken)}): the run diverged, or the file is damaged; '
            'take a checkpoint of an earlier iteration.')
    unused = [
        name for name in state
        if name not in own and name.startswith(DISCRIMINATORS)
    ]
    state = {n: v for n, v in state.items() if n not in unused}
    missing = [
        name for name in own
        if name not in state and not name.endswith('relative_position_index')
    ]
    # parts that may be absent, but as a whole only
    optional = tuple(part for part in DISCRIMINATORS +
                     (_ADDITIONS if allow_missing else ())
                     if not any(name.startswith(part) for name in state))
    lacking = [
        name for name in missing
        if not name.startswith(optional) and not _is_of(name, changed)
    ]
    found = _misfits(own, state, lacking)
    stage = content['meta'].get('mbos_stage', model.stage)
    if found and stage != model.stage:
        found.insert(
            0, f'it is of stage {stage!r}, the config of stage '
            f'{model.stage!r}')
    if found:
        raise ValueError(f'{path} does not fit the config: '
                         f'{"; ".join(found)}. Use the config that it was '
                         'trained with.')
    if missing:
        notes.append(f'missing, left as initialised: {first_of(missing)}')
    if unused:
        notes.append(
            f'not used here: {len(unused)} weights of the discriminators')
    return state, notes


def _misfits(own: dict, state: dict, lacking: list[str]) -> list[str]:
    """What keeps weights from being those of a network with ``own``."""
    misfits = {
        'lacks':
        lacking,
        'has without a place': [name for name in state if name not in own],
        'has of another size': [
            f'{name} {tuple(value.shape)} instead of {tuple(own[name].shape)}'
            for name, value in state.items()
            if name in own and value.shape != own[name].shape
        ]
    }
    return [
        f'it {fault} {len(names)} weights: {first_of(names)}'
        for fault, names in misfits.items() if names
    ]


def _translated(path: str, content: dict, model: nn.Module):
    """A checkpoint's weights under our names, and what is left behind."""
    tasks = list(model.tasks.values())
    if not is_release_state(content['state_dict']):
        return own_weights(content['state_dict'], model.state_dict())
    try:
        check_release_tasks(content['state_dict'], tasks)
    except ValueError as error:
        raise ValueError(f'{path}, released by the authors, does not fit the '
                         f'config: {error}') from error
    state, dropped = from_release(content['state_dict'], tasks)
    notes = ['released by the authors, names converted', *left_out(content)]
    if dropped:
        notes.append(f'{len(dropped)} tensors without use dropped: '
                     f'{first_of(dropped)}')
    return state, notes


def left_out(content: dict, kept_meta: tuple[str, ...] = ()) -> list[str]:
    """A sentence on what a checkpoint holds beside weights, if anything."""
    names = sorted(set(content) - {'state_dict', 'meta'})
    names += [f'meta.{k}' for k in content['meta'] if k not in kept_meta]
    return [f'left out: {", ".join(names)}'] if names else []


def _changed_tasks(path: str, content: dict, model: nn.Module,
                   allowed: bool) -> list[str]:
    """Names of the tasks that only the checkpoint or only the model has."""
    stored = content['meta'].get('mbos_tasks')
    if stored is None or is_release_state(content['state_dict']):
        return []
    try:
        theirs = build_tasks(stored)
    except (TypeError, ValueError, AttributeError) as error:
        raise ValueError(f'{path} describes its tasks in a way that cannot '
                         f'be understood ({error}): copy it again.') from error
    ours = list(model.tasks.values())
    changed = sorted({task.name for task in set(theirs) ^ set(ours)})
    if changed and not allowed:
        theirs, ours = ('; '.join(f'{t.name} {t.classes}{" nested" * t.nested}'
                                  for t in side) for side in (theirs, ours))
        raise ValueError(f'{path} was trained for the tasks {theirs}, the '
                         f'config has {ours}: use the config it was trained '
                         'with.')
    return changed


def _is_of(name: str, tasks: Sequence[str]) -> bool:
    """Whether weights are of some of these tasks; those of the attention
    between tasks are of all."""
    inner = [part for part in name.split('.')[1:] if part != 'heads']
    return bool(tasks) and inner[:1] in [['cross_task_attention'],
                                         *([task] for task in tasks)]


def checkpoint_meta(model: nn.Module,
                    model_cfg: dict | None,
                    settings: PredictionSettings | None = None) -> dict:
    """What a checkpoint holds about its network and its use, in plain types:
    ``mbos_tasks``, ``mbos_stage``, ``mbos_model``, and what ``settings_meta``
    adds."""
    tasks = list(model.tasks.values())
    return dict(
        mbos_tasks=[task.as_config() for task in tasks],
        mbos_stage=model.stage,
        mbos_model=model_cfg,
        **settings_meta(tasks, settings))
