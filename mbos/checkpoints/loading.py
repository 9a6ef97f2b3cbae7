"""Loading checkpoints of either stage, ours and the authors'."""
import codecs
import json
from collections.abc import Sequence
from contextlib import suppress

from mmcv.utils import print_log
from torch import Tensor, nn

from mbos.faults import first_of
from mbos.io.weights_file import read_safetensors, read_weights_only
from mbos.models.adversarial_segmentor import DISCRIMINATORS
from mbos.tasks import Task, build_tasks
from .foreign_state import own_weights, without_wrapper
from .network import stage_of
from .release_layout import check_release_tasks, from_release, is_release_state
from .settings import PredictionSettings, settings_meta

SAFETENSORS = '.safetensors'
_ATTENTION = 'decode_head.cross_task_attention.'
_ADDITIONS = (_ATTENTION, 'auxiliary_head.')


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
        ValueError: If it is not a checkpoint, is truncated, or holds more than
            tensors and plain values.
    """
    if path.endswith(SAFETENSORS):
        tensors, metadata = read_safetensors(path)
        content = dict(state_dict=tensors, meta=metadata.get('mbos', {}))
        with suppress(ValueError, RecursionError, TypeError):
            content['meta'] = json.loads(content['meta'])
    else:
        content = read_weights_only(path, _NUMPY)
    if not isinstance(content, dict) or 'state_dict' not in content:
        content = dict(state_dict=content)
    if content.get('meta') is None:
        content['meta'] = {}
    parts = [
        content[k] for k in ('state_dict', 'meta', 'optimizer') if k in content
    ]
    if not all(isinstance(part, dict) for part in parts) or not all(
            isinstance(name, str) and isinstance(value, Tensor)
            for name, value in content['state_dict'].items()):
        raise ValueError(
            f'{path} is not a checkpoint of a segmentor: expected a '
            'state_dict of tensors and, if there, meta and optimizer as '
            'dicts. Copy it again, or take another one.')
    content['state_dict'] = without_wrapper(content['state_dict'])
    return content


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
    """Turn a checkpoint's weights into those of a segmentor, all checked; it
    is not changed. Arguments and errors are those of :func:`load_weights`.

    Returns:
        tuple[dict, list[str]]: The state dict under our names, and sentences
        on everything that was dropped or is missing.
    """
    own = model.state_dict()
    found, notes, changed = _translated(path, content, model, allow_missing)
    state = {
        name: value
        for name, value in found.items()
        if name in own or not name.startswith(DISCRIMINATORS)
    }
    missing = [
        name for name in own
        if name not in state and not name.endswith('relative_position_index')
    ]
    # parts that may be absent, but as a whole only
    parts = DISCRIMINATORS + (_ADDITIONS if allow_missing else ())
    optional = tuple(
        part for part in parts
        if not any(name.startswith(part) for name in state))
    lacking = [
        name for name in missing
        if not name.startswith(optional) and not _is_of(name, changed)
    ]
    misfits = {
        'lacks weights':
        lacking,
        'has weights without a place':
        [name for name in state if name not in own],
        'has weights of another size': [
            f'{name} {tuple(value.shape)} instead of {tuple(own[name].shape)}'
            for name, value in state.items()
            if name in own and value.shape != own[name].shape
        ],
        'has weights that are NaN or infinite':
        [name for name, value in state.items() if not value.isfinite().all()]
    }
    faults = [
        f'it {fault}: {first_of(names)}' for fault, names in misfits.items()
        if names
    ]
    if faults:
        raise ValueError(
            f'{path} does not fit the config: it is of stage '
            f'{stage_of(content)!r}, the config of stage {model.stage!r}; '
            f'{"; ".join(faults)}. Use the config that it was trained with, '
            'or the checkpoint of an earlier iteration if the run diverged.')
    if missing:
        notes.append(f'missing, left as initialised: {first_of(missing)}')
    if len(found) > len(state):
        notes.append(f'not used here: {len(found) - len(state)} weights of '
                     'the discriminators')
    return state, notes


def _translated(path: str, content: dict, model: nn.Module,
                allow_missing: bool) -> tuple[dict, list[str], list[str]]:
    """A checkpoint's weights under our names, what is left behind, and the
    tasks that only the checkpoint or only the model has."""
    state, tasks = content['state_dict'], list(model.tasks.values())
    if is_release_state(state):
        check_release_tasks(state, tasks, path)
        found, dropped = from_release(state, tasks)
        notes = ['released by the authors, names converted']
        notes += left_out(content)
        if dropped:
            notes.append(f'{len(dropped)} tensors without use dropped: '
                         f'{first_of(dropped)}')
        return found, notes, []
    changed = _changed_tasks(path, content['meta'], tasks, allow_missing)
    found, notes = own_weights(state, model.state_dict())
    if changed:
        found = {n: v for n, v in found.items() if not _is_of(n, changed)}
        notes.append('taken over but for the tasks that it and the config do '
                     f'not share: {", ".join(changed)}')
    return found, notes, changed


def left_out(content: dict, kept_meta: tuple[str, ...] = ()) -> list[str]:
    """A sentence on what a checkpoint holds beside weights, if anything."""
    names = sorted(set(content) - {'state_dict', 'meta'})
    names += [f'meta.{k}' for k in content['meta'] if k not in kept_meta]
    return [f'left out: {", ".join(names)}'] if names else []


def _changed_tasks(path: str, meta: dict, tasks: Sequence[Task],
                   allowed: bool) -> list[str]:
    """Names of the tasks that only the checkpoint or only the config has."""
    if meta.get('mbos_tasks') is None:
        return []
    try:
        stored = build_tasks(meta['mbos_tasks'])
    except (TypeError, ValueError, AttributeError) as error:
        raise ValueError(f'{path} describes its tasks in a way that cannot '
                         f'be understood ({error}): copy it again.') from error
    changed = sorted({task.name for task in set(stored) ^ set(tasks)})
    if changed and not allowed:
        theirs, ours = ('; '.join(f'{t.name} {t.classes}{" nested" * t.nested}'
                                  for t in side) for side in (stored, tasks))
        raise ValueError(f'{path} was trained for the tasks {theirs}, the '
                         f'config has {ours}: use the config it was trained '
                         'with.')
    return changed


def _is_of(name: str, tasks: Sequence[str]) -> bool:
    """Whether weights are of some of these tasks; those of the attention
    between tasks are of all."""
    parts = ('decode_head.heads.', 'auxiliary_head.heads.', *DISCRIMINATORS)
    own = [f'{part}{task}.' for part in parts for task in tasks]
    return bool(tasks) and name.startswith((_ATTENTION, *own))


def checkpoint_meta(model: nn.Module,
                    model_cfg: dict | None,
                    settings: PredictionSettings | None = None) -> dict:
    """What a checkpoint holds about its network and its use, in plain
    types."""
    tasks = list(model.tasks.values())
    return dict(
        mbos_tasks=[task.as_config() for task in tasks],
        mbos_stage=model.stage,
        mbos_model=model_cfg,
        **settings_meta(tasks, settings))
