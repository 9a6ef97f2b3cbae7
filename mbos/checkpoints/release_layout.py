"""Names and shapes of the authors' released checkpoints, both ways.

The release writes the tasks' decoders as grouped convolutions, one task after
the other along dimension 0; allocates a cross-task attention block per ordered
pair of tasks of which only the first is used; and puts the stage-2 network
under ``generator.``. It numbers tasks in the order of ``build_tasks``.
"""
import re
from collections.abc import Sequence

import torch
from torch import Tensor

from mbos.models.cross_task_attention import relative_position_index
from mbos.tasks import Task

State = dict[str, Tensor]

_GENERATOR = 'generator.'
_HEADS = ('decode_head', 'auxiliary_head')
_ATTENTION = 'decode_head.attn.'
_OUR_ATTENTION = 'decode_head.cross_task_attention.'
_GAME = ('discriminator', 'auxiliary_discriminator')  # ours: with an s
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


def check_release_tasks(state: State, tasks: Sequence[Task]) -> None:
    """Refuse a released state dict of other tasks than the config's.

    Raises:
        ValueError: If the number of tasks or the channels of one differ.
    """
    channels = {}
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
    """
    names = [task.name for task in tasks]
    result: State = {}
    dropped = []
    for name, value in state.items():
        found = _from_release(name.removeprefix(_GENERATOR), value, names)
        result.update(found)
        if not found:
            dropped.append(name)
    return result, dropped


def _from_release(name: str, value: Tensor, tasks: list[str]) -> State:
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
    by_task = dict(enumerate(tasks))
    if part in _GAME:
        match = re.fullmatch(r'(\d{1,6})\.conv(\d{1,6})\.conv\.(\w+)', tail)
        task = match and by_task.get(int(match[1]))
        return {
            f'{part}s.{task}.convs.{int(match[2]) - 1}.{match[3]}': value
        } if match and task else {}
    if part not in _HEADS:
        return {}
    match = re.fullmatch(r'conv_seg\.(\d{1,6})\.(\w+)', tail)
    if match:
        task = by_task.get(int(match[1]))
        return {f'{part}.heads.{task}.conv_seg.{match[2]}': value}
    shares = value.chunk(len(tasks)) if value.dim() else ()
    return {
        f'{part}.heads.{task}.{tail}': share.clone()
        for task, share in zip(tasks, shares)
    }


def to_release(state: State, tasks: Sequence[Task]) -> tuple[State, list[str]]:
    """Turn the whole state dict of one of our networks into one that the
    release could load.

    Returns:
        tuple[dict[str, Tensor], list[str]]: The release's state dict, and the
        names in it that are filled with copies, since nothing reads them.

    Raises:
        ValueError: If the cross-task attention has a block per pair, which
            the release cannot use.
    """
    if any(name.startswith(_OUR_ATTENTION + 'blocks.') for name in state):
        raise ValueError('The release knows only one shared cross-task '
                         'attention block; this checkpoint has one per pair.')
    position = {task.name: i for i, task in enumerate(tasks)}
    generator: State = {}
    attention: State = {}
    game: State = {}
    shares: dict[str, dict[int, Tensor]] = {}
    for name, value in state.items():
        part = name.partition('.')[0]
        if part == 'backbone':
            generator[name] = value
        elif name.startswith(_OUR_ATTENTION):
            tail = name.removeprefix(_OUR_ATTENTION)
            theirs, ours = next(
                p for p in _ATTENTION_PARTS if tail.startswith(p[1]))
            attention[_ATTENTION + theirs + tail.removeprefix(ours)] = value
        elif part in _HEADS:
            _, _, task, tail = name.split('.', 3)
            conv_seg, _, kind = tail.rpartition('.')
            if conv_seg == 'conv_seg':
                at = f'{part}.conv_seg.{position[task]}.{kind}'
                generator[at] = value
            else:
                of_tasks = shares.setdefault(f'{part}.{tail}', {})
                of_tasks[position[task]] = value
        elif part.removesuffix('s') in _GAME:
            _, task, _, layer, kind = name.split('.')
            at = f'{position[task]}.conv{int(layer) + 1}.conv.{kind}'
            game[f'{part.removesuffix("s")}.{at}'] = value
    for name, by_position in shares.items():
        generator[name] = torch.cat(
            [v for _, v in sorted(by_position.items())])
    copies = _dead_copies(attention, len(tasks)) if attention else {}
    generator.update(attention, **copies)
    prefix = _GENERATOR if attention or game else ''
    result = {prefix + name: value for name, value in generator.items()}
    return {**result, **game}, [prefix + name for name in copies]


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
