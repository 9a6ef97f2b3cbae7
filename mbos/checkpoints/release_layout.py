"""Names and shapes of the authors' released checkpoints, both ways.

The release writes the tasks' decoders as grouped convolutions, one task after
the other along dimension 0; allocates a cross-task attention block per ordered
pair of tasks of which only the first is used; and puts the stage-2 network
under ``generator.``. It numbers tasks in the order of ``build_tasks``.
"""
import re
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from mbos.tasks import Task

State = dict[str, Tensor]

_GENERATOR = 'generator.'
_HEADS = ('decode_head.', 'auxiliary_head.')
_GAME = ('discriminator.', 'auxiliary_discriminator.')
_ATTENTION = 'decode_head.attn.'
_OURS = 'decode_head.cross_task_attention.'
_NAMES = (
    ('backbone.{rest}', 'backbone.{rest}'),
    (_ATTENTION + 'w_msa.0.{used}', _OURS + 'block.{used}'),
    (_ATTENTION + 'norm2.0.{rest}', _OURS + 'block.norm2.{rest}'),
    (_ATTENTION + 'ffn.0.{rest}', _OURS + 'block.ffn.{rest}'),
    (_ATTENTION + 'proj.{rest}', _OURS + 'fuse.{rest}'),
    ('{head}.conv_seg.{task}.{kind}', '{head}.heads.{task}.conv_seg.{kind}'),
    ('{game}.{task}.conv{layer}.conv.{kind}',
     '{game}s.{task}.convs.{layer}.{kind}'),
)
"""tuple: Names of what is the same tensor in both, the release's and ours."""
_FIELDS = dict(
    rest='.+',
    used=r'relative_position_bias_table|(?:q|kv|proj|norm1)\..+',
    head='decode_head|auxiliary_head',
    game='(?:auxiliary_)?discriminator',
    task=r'\w+',
    layer=r'\d{1,6}',  # the release counts from 1
    kind=r'\w+')
_GROUPS = {name: f'(?P<{name}>{field})' for name, field in _FIELDS.items()}


def _renamed(name: str, tasks: Mapping[str, object],
             to_release: bool) -> str | None:
    """The name in the other layout, where the tensor is the same; ``tasks``
    are those of this layout, and what the other calls them."""
    for names in _NAMES:
        pattern = names[to_release].replace('.', r'\.').format(**_GROUPS)
        match = re.fullmatch(pattern, name)
        if match:
            fields = match.groupdict()
            layer = int(fields.get('layer', 0)) + (1 if to_release else -1)
            fields.update(layer=layer, task=tasks.get(fields.get('task')))
            return names[not to_release].format(**fields)
    return None


def is_release_state(state: State) -> bool:
    """Whether names of a state dict are the release's, of either stage."""
    return any(
        name.startswith(_GENERATOR)
        or re.match(r'decode_head\.conv_seg\.\d+\.', name) for name in state)


def check_release_tasks(state: State, tasks: Sequence[Task],
                        path: str) -> None:
    """Refuse a released state dict of other tasks than the config's: a
    ValueError says where their number or the channels of one differ."""
    pattern = re.compile(r'(generator\.)?decode_head\.conv_seg\.(\d{1,6})\.')
    channels = {int(match[2]): len(value) if value.dim() else 0
                for name, value in state.items()
                if (match := pattern.match(name))}  # yapf: disable
    found = [channels[index] for index in sorted(channels)]
    if found != [task.num_classes for task in tasks]:
        names = ', '.join(f'{t.name} {t.num_classes}' for t in tasks)
        raise ValueError(
            f'{path}, released by the authors, has {len(found)} tasks with '
            f'{found} channels, the config {len(tasks)} ({names}): use the '
            'config it was trained with, or copy the file again.')


def from_release(state: State,
                 tasks: Sequence[Task]) -> tuple[State, list[str]]:
    """Turn a released state dict into ours; returns it, and names without a
    place in it."""
    names = {str(i): task.name for i, task in enumerate(tasks)}
    result: State = {}
    dropped = []
    for given, value in state.items():
        name = given.removeprefix(_GENERATOR)
        ours = _renamed(name, names, to_release=False)
        if ours is not None:
            result[ours] = value
        elif (name.startswith(_HEADS) and not name.startswith(_ATTENTION)
              and value.dim()):
            head, _, tail = name.partition('.')
            for task, share in zip(tasks, value.chunk(len(tasks))):
                result[f'{head}.heads.{task.name}.{tail}'] = share.clone()
        else:
            dropped.append(given)
    return result, dropped


def to_release(state: State, tasks: Sequence[Task]) -> State:
    """Turn the whole state dict of one of our networks into one that the
    release loads: all that it reads. A ValueError is raised if the cross-task
    attention has a block per pair, which the release cannot use."""
    if any(name.startswith(_OURS + 'blocks.') for name in state):
        raise ValueError('The release knows only one shared cross-task '
                         'attention block; this checkpoint has one per pair.')
    positions = {task.name: i for i, task in enumerate(tasks)}
    result: State = {}
    shares: dict[str, dict[int, Tensor]] = {}
    for name, value in state.items():
        theirs = _renamed(name, positions, to_release=True)
        if theirs is not None:
            result[theirs] = value
        else:
            head, _, task, tail = name.split('.', 3)
            shares.setdefault(f'{head}.{tail}', {})[positions[task]] = value
    for name, by_position in shares.items():
        result[name] = torch.cat([v for _, v in sorted(by_position.items())])
    if not any(name.startswith((_ATTENTION, *_GAME)) for name in result):
        return result
    return {name if name.startswith(_GAME) else _GENERATOR + name: value
            for name, value in result.items()}  # yapf: disable
