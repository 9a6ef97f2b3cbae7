"""Loading checkpoints of either stage: ours, the authors', and those in which
wrappers, averages or other code left more than a network's weights."""
import codecs
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress

from mmcv.utils import print_log
from torch import Tensor, nn

from mbos.faults import first_of
from mbos.io.weights_file import read_safetensors, read_weights_only
from mbos.models.adversarial_segmentor import DISCRIMINATORS
from mbos.tasks import Task, build_tasks
from .network import stage_of
from .release_layout import check_release_tasks, from_release, is_release_state
from .settings import PredictionSettings, settings_meta

SAFETENSORS = '.safetensors'
PARTS = ('backbone', 'neck', 'decode_head', 'auxiliary_head', 'discriminators',
         'auxiliary_discriminators')
"""tuple[str]: Parts of the segmentors of this package."""
_ATTENTION = 'decode_head.cross_task_attention.'  # of all tasks
_BY_TASK = ('decode_head.heads', 'auxiliary_head.heads', 'discriminators',
            'auxiliary_discriminators')
State = Mapping[str, Tensor]


class _LeftOut:
    """Stands for a NumPy value in the meta information: nobody reads them, and
    NumPy would make objects out of any bytes, which may crash Python."""

    def __init__(self, *args):
        pass

    def __setstate__(self, state):
        pass


_NUMPY = [codecs.encode] + [(_LeftOut, f'numpy.{name}') for name in (
    'ndarray', 'dtype', 'core.multiarray.scalar', '_core.multiarray.scalar',
    'core.multiarray._reconstruct', '_core.multiarray._reconstruct')]


def read_checkpoint(path: str) -> dict:
    """Read a checkpoint without running code that it may hold: a dict of
    ``state_dict``, ``meta`` and, if kept, ``optimizer``. A ValueError is
    raised if it is none, is truncated, or holds more than plain values."""
    if path.endswith(SAFETENSORS):
        tensors, metadata = read_safetensors(path)
        content = dict(state_dict=tensors, meta=metadata.get('mbos', '{}'))
        with suppress(ValueError, RecursionError):  # then refused below
            content['meta'] = json.loads(content['meta'])
    else:
        content = read_weights_only(path, _NUMPY)
    if not isinstance(content, dict) or 'state_dict' not in content:
        content = dict(state_dict=content)
    content['meta'] = content.get('meta') or {}
    state = content['state_dict']
    parts = [state, content['meta'], content.get('optimizer', {})]
    if not all(isinstance(part, dict) for part in parts) or not all(
            isinstance(name, str) and isinstance(value, Tensor)
            for name, value in state.items()):
        raise ValueError(f'{path} is not a checkpoint: expected a state_dict '
                         'of tensors, meta and optimizer as dicts.')
    content['state_dict'] = without_wrapper(state)
    return content


def without_wrapper(state: State) -> dict[str, Tensor]:
    """Names without what data parallelism, averaging and compiling of the
    whole network put before them."""
    if any(name.split('.')[0] in PARTS for name in state):
        return dict(state)
    wrappers = re.compile(r'^(module\.|_orig_mod\.)+')
    return {wrappers.sub('', name): value for name, value in state.items()}


def own_weights(state: State, own: Iterable[str] = ()) -> tuple[State, list]:
    """What a checkpoint has for parts of a network, averages of mmcv's
    ``EMAHook`` in their place, and sentences on what was done; ``own`` are the
    names of the network's state, which may have parts of the user's."""
    parts = {*PARTS, *(name.split('.')[0] for name in own)}
    buffers = {'ema_' + name.replace('.', '_'): name for name in state}
    average = {buffers[n]: v for n, v in state.items() if n in buffers}
    state = {n: v for n, v in state.items() if n not in buffers} | average
    kept = {n: v for n, v in state.items() if n.split('.')[0] in parts}
    foreign = [name for name in state if name not in kept]
    notes = []
    if average:
        notes.append(f'{len(average)} weights taken from the average that '
                     "mmcv's EMAHook made (ema_*)")
    if foreign:
        notes.append('left out, as it belongs to no part of the network: '
                     f'{first_of(foreign)}')
    return kept, notes


def left_out(content: dict, kept_meta: tuple[str, ...] = ()) -> list[str]:
    """A sentence on what a checkpoint holds beside weights, if anything."""
    names = sorted(set(content) - {'state_dict', 'meta'})
    names += [f'meta.{k}' for k in content['meta'] if k not in kept_meta]
    return [f'left out: {", ".join(names)}'] if names else []


def load_weights(model: nn.Module,
                 path: str,
                 logger=None,
                 allow_missing: bool = False) -> None:
    """Load a checkpoint into a segmentor, whole or not at all: a ValueError
    says where tasks, stage or shapes do not fit, ``logger`` what is left out.

    With ``allow_missing``, training starts here: the model may have whole
    parts that the checkpoint lacks, as when stage 2 starts from stage 1, and
    other tasks, whose parts are left as initialised. Discriminators may
    always be lacking.
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
    """A checkpoint's weights under the names of a segmentor, which is not
    changed, and sentences on what was dropped or is missing. Arguments and
    errors are those of :func:`load_weights`."""
    own, tasks = model.state_dict(), list(model.tasks.values())
    replaced: tuple[str, ...] = ()
    if is_release_state(content['state_dict']):
        check_release_tasks(content['state_dict'], tasks, path)
        found, dropped = from_release(content['state_dict'], tasks)
        notes = ['released by the authors, names converted']
        notes += left_out(content)
        if dropped:
            notes.append(f'dropped, without use: {first_of(dropped)}')
    else:
        found, notes = own_weights(content['state_dict'], own)
        others = _other_tasks(path, content['meta'], tasks, allow_missing)
        if others:
            notes.append('taken over but for the tasks that it and the config '
                         f'do not share: {", ".join(others)}')
            replaced = _ATTENTION, *(f'{part}.{task}.' for part in _BY_TASK
                                     for task in others)  # yapf: disable
    found = {n: v for n, v in found.items() if not n.startswith(replaced)}
    state = {n: v for n, v in found.items()
             if n in own or not n.startswith(DISCRIMINATORS)}  # yapf: disable
    if len(found) > len(state):
        notes.append(f'not used here: {len(found) - len(state)} weights of '
                     'the discriminators')
    missing = [n for n in own if n not in state
               and not n.endswith('relative_position_index')]  # yapf: disable
    # parts that may be absent, but as a whole only
    parts = DISCRIMINATORS
    if allow_missing:
        parts += (_ATTENTION, 'auxiliary_head.')
    absent = tuple(p for p in parts if not any(n.startswith(p) for n in state))
    misfits = {
        'lacks weights':
        [name for name in missing if not name.startswith(absent + replaced)],
        'has weights without a place':
        [name for name in state if name not in own],
        'has weights of another size':
        [f'{n} {tuple(v.shape)} instead of {tuple(own[n].shape)}'
         for n, v in state.items() if n in own and v.shape != own[n].shape],
        'has weights that are NaN or infinite':
        [name for name, value in state.items() if not value.isfinite().all()]
    }  # yapf: disable
    faults = [f'it {fault}: {first_of(names)}'
              for fault, names in misfits.items() if names]  # yapf: disable
    if faults:
        raise ValueError(
            f'{path} does not fit the config: it is of stage '
            f'{stage_of(content)!r}, the config of stage {model.stage!r}; '
            f'{"; ".join(faults)}. Use the config that it was trained with, '
            'or the checkpoint of an earlier iteration if the run diverged.')
    if missing:
        notes.append(f'missing, left as initialised: {first_of(missing)}')
    return state, notes


def _other_tasks(path: str, meta: dict, tasks: Sequence[Task],
                 allowed: bool) -> list[str]:
    """Names of the tasks that only the checkpoint or only the config has."""
    if meta.get('mbos_tasks') is None:
        return []
    try:
        stored = build_tasks(meta['mbos_tasks'])
    except (TypeError, ValueError, AttributeError) as error:
        raise ValueError(f'{path} describes its tasks in a way that cannot '
                         f'be understood ({error}): copy it again.') from error
    other = sorted({task.name for task in set(stored) ^ set(tasks)})
    if other and not allowed:
        raise ValueError(f'{path} was trained for other tasks than the config '
                         f'has: they differ in {", ".join(other)}.')
    return other


def checkpoint_meta(model: nn.Module,
                    model_cfg: dict | None,
                    settings: PredictionSettings | None = None) -> dict:
    """What a checkpoint holds about its network, in plain types."""
    tasks = list(model.tasks.values())
    return dict(
        mbos_tasks=[task.as_config() for task in tasks],
        mbos_stage=model.stage,
        mbos_model=model_cfg,
        **settings_meta(tasks, settings))
