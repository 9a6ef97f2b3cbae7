"""Loading checkpoints of either stage, ours and the authors'."""
import hashlib
import os.path as osp
import pickle
import zipfile
from typing import List, Optional

import torch
from mmcv.utils import print_log
from torch import nn

from mbos.core.release_checkpoint import from_release, is_release_state
from mbos.core.tasks import Task


def read_checkpoint(path: str) -> dict:
    """Read a checkpoint without running code that it may hold.

    Args:
        path (str): The file.

    Returns:
        dict: ``state_dict``, ``meta`` and, if kept, ``optimizer``.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no checkpoint, is truncated, or holds more than
            tensors and plain values.
    """
    if not osp.isfile(path):
        raise FileNotFoundError(f'Checkpoint {path!r} not found.')
    try:
        content = torch.load(path, map_location='cpu', weights_only=True)
    except (pickle.UnpicklingError, zipfile.BadZipFile, EOFError,
            RuntimeError) as error:
        raise ValueError(
            f'{path} is not a whole checkpoint of tensors and plain values '
            f'({str(error).splitlines()[0][:200]}). Copy it again, or take '
            'one of another iteration.') from error
    if not isinstance(content, dict):
        raise ValueError(f'{path} holds a {type(content).__name__}, expected '
                         'a dict with a state_dict.')
    if 'state_dict' not in content:
        content = dict(state_dict=content, meta={})
    content.setdefault('meta', {})
    return content


def file_sha256(path: str) -> str:
    """SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with open(path, 'rb') as file:
        for block in iter(lambda: file.read(1 << 20), b''):
            digest.update(block)
    return digest.hexdigest()


def load_weights(model: nn.Module,
                 path: str,
                 logger=None,
                 allow_missing: bool = False) -> dict:
    """Load a checkpoint into a segmentor, whole or not at all.

    Args:
        model (nn.Module): A ``MultiTaskSegmentor`` or a subclass.
        path (str): Checkpoint of ours, or released by the authors.
        logger (logging.Logger, optional): Told what was dropped.
        allow_missing (bool): Whether the model may have parts that the
            checkpoint lacks, as when stage 2 starts from stage 1. Their
            names are logged. Default: False.

    Returns:
        dict: The checkpoint's meta information.

    Raises:
        ValueError: If tasks, stage or shapes do not fit.
    """
    content = read_checkpoint(path)
    state, tasks = content['state_dict'], list(model.tasks.values())
    if is_release_state(state):
        state, report = from_release(state, tasks)
        print_log(
            f'{path}: released by the authors; {len(report.dropped)} entries '
            f'without use dropped: {_some(report.dropped)}', logger)
    _check_tasks(path, content['meta'], tasks)
    own = model.state_dict()
    _check_shapes(path, state, own)
    missing = [
        name for name in own if name not in state and not _is_derived(name)
        and not _is_discriminator(name)
    ]
    unexpected = [name for name in state if name not in own]
    dropped = [name for name in unexpected if _is_discriminator(name)]
    unexpected = [name for name in unexpected if name not in dropped]
    if unexpected or (missing and not allow_missing):
        raise ValueError(
            _mismatch(path, content['meta'], model, missing, unexpected))
    if missing:
        print_log(f'{path} lacks, left as initialised: {_some(missing)}',
                  logger)
    if dropped:
        print_log(f'{path}: not used here: {_some(dropped)}', logger)
    model.load_state_dict(state, strict=False)
    return content['meta']


def _is_derived(name: str) -> bool:
    return name.endswith('relative_position_index')


def _is_discriminator(name: str) -> bool:
    return name.startswith(('discriminators.', 'auxiliary_discriminators.'))


def _some(names: List[str], shown: int = 4) -> str:
    more = f' and {len(names) - shown} more' if len(names) > shown else ''
    return ', '.join(names[:shown]) + more


def _check_tasks(path: str, meta: dict, tasks: List[Task]) -> None:
    stored = meta.get('mbos_tasks')
    if stored is None:
        return
    theirs = {t['name']: tuple(t['classes']) for t in stored}
    ours = {t.name: t.classes for t in tasks}
    if theirs != ours:
        raise ValueError(f'{path} was trained for the tasks {theirs}, the '
                         f'config has {ours}: use the config it was trained '
                         'with.')


def _check_shapes(path: str, state: dict, own: dict) -> None:
    wrong = [
        f'{name}: {tuple(value.shape)} instead of {tuple(own[name].shape)}'
        for name, value in state.items()
        if name in own and own[name].shape != value.shape
    ]
    if wrong:
        raise ValueError(
            f'{path} belongs to a network of another size ({_some(wrong)}): '
            'use the config it was trained with.')


def _mismatch(path: str, meta: dict, model: nn.Module, missing: List[str],
              unexpected: List[str]) -> str:
    stage = meta.get('mbos_stage')
    parts = [f'{path} does not fit the config.']
    if stage is not None and stage != model.stage:
        parts.append(f'It is of stage {stage!r}, the config is of stage '
                     f'{model.stage!r}.')
    if missing:
        parts.append(f'It lacks {len(missing)} weights: {_some(missing)}.')
    if unexpected:
        parts.append(f'It has {len(unexpected)} weights without a place: '
                     f'{_some(unexpected)}.')
    parts.append('Use the config that it was trained with.')
    return ' '.join(parts)


def checkpoint_meta(model: nn.Module, model_cfg: Optional[dict]) -> dict:
    """What a checkpoint tells about its network.

    Args:
        model (nn.Module): The segmentor.
        model_cfg (dict, optional): Its config, in plain types.

    Returns:
        dict: ``mbos_tasks``, ``mbos_stage``, ``mbos_model``.
    """
    return dict(
        mbos_tasks=[
            dict(
                name=t.name,
                classes=list(t.classes),
                nested=t.nested,
                palette=t.palette and [list(c) for c in t.palette])
            for t in model.tasks.values()
        ],
        mbos_stage=model.stage,
        mbos_model=model_cfg)
