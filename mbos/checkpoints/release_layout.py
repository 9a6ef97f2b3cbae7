"""Names and shapes of the authors' released checkpoints, both ways.

The release writes the tasks' decoders as grouped convolutions, one task after
the other along dimension 0; allocates a cross-task attention block per ordered
pair of tasks of which only the first is used; and puts the stage-2 network
under ``generator.``.
"""
import re
from collections.abc import Sequence

import torch
from torch import Tensor

from mbos.models.cross_task_attention import relative_position_index
from mbos.tasks import Task
from .foreign_state import summarize

State = dict[str, Tensor]

_ORDER = ('vessel', 'lesion', 'odoc')
_GENERATOR = 'generator.'
_HEADS = ('decode_head', 'auxiliary_head')
_ATTENTION = 'decode_head.attn.'
_OUR_ATTENTION = 'decode_head.cross_task_attention.'
_GAME = {
    'discriminator': 'discriminators',
    'auxiliary_discriminator': 'auxiliary_discriminators'
}
# The parts of the attention that are used: release name -> ours
_ATTENTION_PARTS = (
    ('w_msa.0.relative_position_bias_table',
     'block.relative_position_bias_table'),
    ('w_msa.0.q.', 'block.q.'),
    ('w_msa.0.kv.', 'block.kv.'),
    ('w_msa.0.proj.', 'block.proj.'),
    ('w_msa.0.norm1.', 'block.norm1.'),
    ('norm2.0.', 'block.norm2.'),
    ('ffn.0.', 'block.ffn.'),
    ('proj.', 'fuse.'),
)


def is_release_state(state: State) -> bool:
    """Whether names of a state dict are the release's, of either stage."""
    return any(
        name.startswith(_GENERATOR)
        or re.match(r'decode_head\.conv_seg\.\d+\.', name) for name in state)


def in_release_order(tasks: Sequence[Task]) -> list[Task]:
    """Tasks as the release numbers them, however a config lists them.

    Returns:
        list[Task]: Vessel, lesion, odoc; the config's order where it has other
        tasks than these three, because nothing else is known then.
    """
    by_name = {task.name: task for task in tasks}
    if set(by_name) != set(_ORDER):
        return list(tasks)
    return [by_name[name] for name in _ORDER]


def check_release_tasks(state: State, tasks: Sequence[Task]) -> None:
    """Refuse a released state dict of other tasks than the config's.

    Raises:
        ValueError: If the number of tasks or the channels of one differ.
    """
    tasks, channels = in_release_order(tasks), {}
    for name, value in state.items():
        match = re.match(r'(?:generator\.)?decode_head\.conv_seg\.(\d{1,6})\.',
                         name)
        if match is not None:
            channels[int(match[1])] = len(value) if value.dim() else 0
    found = [channels[index] for index in sorted(channels)]
    if found != [task.num_classes for task in tasks]:
        names = ', '.join(f'{t.name} {t.num_classes}' for t in tasks)
        raise ValueError(
            f'it has {len(found)} tasks with {found} channels, the config '
            f'{len(tasks)} ({names}): use the config it was trained with, '
            'or copy the file again if it should have these tasks.')


def from_release(state: State,
                 tasks: Sequence[Task]) -> tuple[State, list[str]]:
    """Turn a released state dict into ours.

    Returns:
        tuple[dict[str, Tensor], list[str]]: Our state dict, and the names that
        have no place in it.

    Raises:
        ValueError: If a tensor does not divide among the tasks.
    """
    tasks = in_release_order(tasks)
    result, dropped = {}, []
    for name, value in state.items():
        found = _from_release(name.removeprefix(_GENERATOR), value, tasks)
        result.update(found)
        if not found:
            dropped.append(name)
    return result, dropped


def _from_release(name: str, value: Tensor, tasks: Sequence[Task]) -> State:
    """Our entries for one of the release; empty where it has no use."""
    part, _, tail = name.partition('.')
    if part == 'backbone':
        return {name: value}
    if name.startswith(_ATTENTION):
        tail = name.removeprefix(_ATTENTION)
        return {
            _OUR_ATTENTION + ours + tail.removeprefix(theirs): value
            for theirs, ours in _ATTENTION_PARTS if tail.startswith(theirs)
        }
    if part in _GAME:
        match = re.fullmatch(r'(\d{1,6})\.conv(\d{1,6})\.conv\.(\w+)', tail)
        if match is None:
            return {}
        task, layer = _task_at(match[1], tasks, name), int(match[2]) - 1
        return {f'{_GAME[part]}.{task}.convs.{layer}.{match[3]}': value}
    if part not in _HEADS:
        return {}
    match = re.fullmatch(r'conv_seg\.(\d{1,6})\.(\w+)', tail)
    if match is not None:
        task = _task_at(match[1], tasks, name)
        return {f'{part}.heads.{task}.conv_seg.{match[2]}': value}
    if not value.dim() or len(value) % len(tasks):
        raise ValueError(
            f'{name} of shape {tuple(value.shape)} cannot be shared by '
            f'{len(tasks)} tasks ({", ".join(t.name for t in tasks)}): the '
            'checkpoint was trained with another number of tasks.')
    return {
        f'{part}.heads.{task.name}.{tail}': chunk.clone()
        for task, chunk in zip(tasks, value.chunk(len(tasks)))
    }


def _task_at(index: str, tasks: Sequence[Task], name: str) -> str:
    if int(index) >= len(tasks):
        raise ValueError(f'{name} belongs to a task number {int(index) + 1}, '
                         f'the config has only {[t.name for t in tasks]}.')
    return tasks[int(index)].name


def to_release(state: State, tasks: Sequence[Task]) -> tuple[State, list[str]]:
    """Turn our state dict into one that the release could load.

    Returns:
        tuple[dict[str, Tensor], list[str]]: The release's state dict, and the
        names in it that are filled with copies, since nothing reads them.

    Raises:
        ValueError: If the cross-task attention has a block per pair, which
            the release cannot use, or tensors of some tasks are missing.
    """
    if any(name.startswith(_OUR_ATTENTION + 'blocks.') for name in state):
        raise ValueError('The release knows only one shared cross-task '
                         'attention block; this checkpoint has one per pair.')
    names = [task.name for task in in_release_order(tasks)]
    generator = {n: v for n, v in state.items() if n.startswith('backbone.')}
    generator.update(_heads_to_release(state, names))
    attention = {
        _ATTENTION + theirs + name[len(_OUR_ATTENTION + ours):]: value
        for name, value in state.items()
        for theirs, ours in _ATTENTION_PARTS
        if name.startswith(_OUR_ATTENTION + ours)
    }
    copies = _dead_copies(attention, len(names)) if attention else {}
    generator.update(attention, **copies)
    game = _game_to_release(state, names)
    prefix = _GENERATOR if attention or game else ''
    result = {prefix + name: value for name, value in generator.items()}
    return {**result, **game}, [prefix + name for name in copies]


def _heads_to_release(state: State, names: Sequence[str]) -> State:
    result: State = {}
    of_any_task = re.compile(r'(\w+_head)\.heads\.\w+\.(.+)')
    for match in filter(None, map(of_any_task.match, state)):
        part, tail = match.groups()
        ours = [f'{part}.heads.{name}.{tail}' for name in names]
        missing = [name for name in ours if name not in state]
        if missing:
            raise ValueError(f'The checkpoint lacks {summarize(missing)}.')
        values = [state[name] for name in ours]
        if tail.startswith('conv_seg.'):
            kind = tail.removeprefix('conv_seg.')
            for index, value in enumerate(values):
                result[f'{part}.conv_seg.{index}.{kind}'] = value
        elif f'{part}.{tail}' not in result:
            result[f'{part}.{tail}'] = torch.cat(values)
    return result


def _game_to_release(state: State, names: Sequence[str]) -> State:
    result: State = {}
    for theirs, ours in _GAME.items():
        for index, task in enumerate(names):
            prefix = f'{ours}.{task}.convs.'
            for name, value in state.items():
                if name.startswith(prefix):
                    layer, kind = name[len(prefix):].split('.')
                    layer = f'conv{int(layer) + 1}.conv.{kind}'
                    result[f'{theirs}.{index}.{layer}'] = value
    return result


def _dead_copies(attention: State, tasks: int) -> State:
    """What the release allocates for the attention but never reads."""
    table = attention[f'{_ATTENTION}w_msa.0.relative_position_bias_table']
    index = relative_position_index((round(len(table)**0.5) + 1) // 2)
    copies: State = {}
    for pair in range(tasks * (tasks - 1)):
        copies[f'{_ATTENTION}w_msa.{pair}.relative_position_index'] = index
        for kind in ('weight', 'bias'):
            copies[f'{_ATTENTION}w_msa.{pair}.norm2.{kind}'] = attention[
                f'{_ATTENTION}norm2.0.{kind}']
        if pair > 0:
            copies.update({
                re.sub(r'\.0\.', f'.{pair}.', name, count=1): value
                for name, value in attention.items()
                if not name.startswith(f'{_ATTENTION}proj.')
            })
    return copies
