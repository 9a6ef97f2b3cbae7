"""Names and shapes of the authors' released checkpoints, both ways.

The release writes the tasks' decoders as grouped convolutions, one task after
the other along dimension 0; allocates a cross-task attention block per ordered
pair of tasks of which only the first is used; and puts the stage-2 network
under ``generator.``.
"""
import re
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from mbos.tasks import Task

State = dict[str, Tensor]

_ORDER = ('vessel', 'lesion', 'odoc')

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


@dataclass
class ConversionReport:
    """What a conversion did besides renaming.

    Attributes:
        dropped (list[str]): Names that have no place in the result.
        refilled (list[str]): Names filled with copies of used tensors.
    """

    dropped: list[str] = field(default_factory=list)
    refilled: list[str] = field(default_factory=list)


def is_release_state(state: State) -> bool:
    """Whether names of a state dict are the release's, of either stage."""
    return any(
        name.startswith('generator.')
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
        match = re.search(
                r'^(?:generator\.)?decode_head\.conv_seg\.(\d{1,6})\.', name)
        if match is not None:
            channels[int(match[1])] = _length(value)
    found = [channels[index] for index in sorted(channels)]
    expected = [task.num_classes for task in tasks]
    if found != expected:
        names = ', '.join(f'{t.name} {t.num_classes}' for t in tasks)
        raise ValueError(
            f'it has {len(found)} tasks with {found} channels, the config '
            f'{len(expected)} ({names}): use the config it was trained with, '
            'or copy the file again if it should have these tasks.')


def _length(value: Tensor) -> int:
    return value.shape[0] if value.dim() else 0


def summarize(names: Sequence[str]) -> str:
    """Names in few words: those that differ in numbers only as one pattern.

    Returns:
        str: Such as ``attn.ffn.*.weight (5), norm.bias``.
    """
    groups = OrderedDict()
    for name in names:
        pattern = re.sub(r'(?<=\.)\d+(?=\.)', '*', name)
        groups.setdefault(pattern, []).append(name)
    return ', '.join(same[0] if len(same) == 1 else f'{pattern} ({len(same)})'
                     for pattern, same in groups.items())


def from_release(state: State,
                 tasks: Sequence[Task]) -> tuple[State, ConversionReport]:
    """Turn a released state dict into ours.

    Raises:
        ValueError: If a tensor does not divide among the tasks.
    """
    tasks = in_release_order(tasks)
    result, report = OrderedDict(), ConversionReport()
    for name, value in state.items():
        found = _one_from_release(name, value, tasks)
        if found:
            result.update(found)
        else:
            report.dropped.append(name)
    return result, report


def _one_from_release(name: str, value: Tensor,
                      tasks: Sequence[Task]) -> State:
    """Our entries for one of the release; empty where it has no use."""
    name = name[len('generator.'):] if name.startswith('generator.') else name
    part = name.split('.', 1)[0]
    if part == 'backbone':
        return {name: value}
    if part in _GAME:
        match = re.fullmatch(r'\w+\.(\d{1,6})\.conv(\d{1,6})\.conv\.(\w+)',
                             name)
        if match is None:
            return {}
        task = _task_at(int(match[1]), tasks, name)
        return {
            f'{_GAME[part]}.{task}.convs.{int(match[2]) - 1}.{match[3]}': value
        }
    if name.startswith(_ATTENTION):
        tail = name[len(_ATTENTION):]
        for theirs, ours in _ATTENTION_PARTS:
            if tail.startswith(theirs):
                return {_OUR_ATTENTION + ours + tail[len(theirs):]: value}
        return {}
    if part in _HEADS:
        return _head_from_release(part, name, value, tasks)
    return {}


def _head_from_release(part, name, value, tasks) -> State:
    tail = name[len(part) + 1:]
    match = re.fullmatch(r'conv_seg\.(\d{1,6})\.(\w+)', tail)
    if match is not None:
        task = _task_at(int(match[1]), tasks, name)
        return {f'{part}.heads.{task}.conv_seg.{match[2]}': value}
    if _length(value) % len(tasks) or not value.dim():
        raise ValueError(
            f'{name} of shape {tuple(value.shape)} cannot be shared by '
            f'{len(tasks)} tasks ({", ".join(t.name for t in tasks)}): the '
            'checkpoint was trained with another number of tasks.')
    return {
        f'{part}.heads.{task.name}.{tail}': chunk.clone()
        for task, chunk in zip(tasks, value.chunk(len(tasks)))
    }


def _task_at(index: int, tasks: Sequence[Task], name: str) -> str:
    if index >= len(tasks):
        raise ValueError(f'{name} belongs to a task number {index + 1}, the '
                         f'config has only {[t.name for t in tasks]}.')
    return tasks[index].name


def to_release(state: State,
               tasks: Sequence[Task]) -> tuple[State, ConversionReport]:
    """Turn our state dict into one that the release could load.

    Returns:
        tuple[dict[str, Tensor], ConversionReport]: The release's state dict;
        the report lists the dead copies that were refilled.

    Raises:
        ValueError: If the cross-task attention has a block per pair, which
            the release cannot use, or tensors of some tasks are missing.
    """
    if any(name.startswith(_OUR_ATTENTION + 'blocks.') for name in state):
        raise ValueError('The release knows only one shared cross-task '
                         'attention block; this checkpoint has one per pair.')
    tasks = in_release_order(tasks)
    report = ConversionReport()
    result = OrderedDict()
    stage2 = (_OUR_ATTENTION, ) + tuple(_GAME.values())
    adversarial = any(name.startswith(stage2) for name in state)
    generator = 'generator.' if adversarial else ''
    for name, value in state.items():
        if name.startswith('backbone.'):
            result[generator + name] = value
    for part in _HEADS:
        for name, value in _head_to_release(part, state, tasks).items():
            result[generator + name] = value
    for name, value in _attention_to_release(state, tasks, report).items():
        result[generator + name] = value
    report.refilled = [generator + name for name in report.refilled]
    for theirs, ours in _GAME.items():
        for index, task in enumerate(tasks):
            prefix = f'{ours}.{task.name}.convs.'
            for name, value in state.items():
                if name.startswith(prefix):
                    layer, kind = name[len(prefix):].split('.')
                    layer = f'conv{int(layer) + 1}.conv.{kind}'
                    result[f'{theirs}.{index}.{layer}'] = value
    return result, report


def _head_to_release(part, state, tasks) -> State:
    result = OrderedDict()
    prefixes = [f'{part}.heads.{task.name}.' for task in tasks]
    tails = [n[len(prefixes[0]):] for n in state if n.startswith(prefixes[0])]
    for tail in tails:
        missing = [p + tail for p in prefixes if p + tail not in state]
        if missing:
            raise ValueError(f'The checkpoint lacks {summarize(missing)}.')
        values = [state[prefix + tail] for prefix in prefixes]
        if tail.startswith('conv_seg.'):
            kind = tail[len('conv_seg.'):]
            for index, value in enumerate(values):
                result[f'{part}.conv_seg.{index}.{kind}'] = value
        else:
            result[f'{part}.{tail}'] = torch.cat(values)
    return result


def _attention_to_release(state, tasks, report) -> State:
    used = OrderedDict()
    for name, value in state.items():
        if not name.startswith(_OUR_ATTENTION):
            continue
        tail = name[len(_OUR_ATTENTION):]
        for theirs, ours in _ATTENTION_PARTS:
            if tail.startswith(ours):
                used[theirs + tail[len(ours):]] = value
    if not used:
        return used
    result = OrderedDict((_ATTENTION + n, v) for n, v in used.items())
    for name, value in _dead_copies(used, len(tasks)).items():
        result[_ATTENTION + name] = value
        report.refilled.append(_ATTENTION + name)
    return result


def _dead_copies(used: State, tasks: int) -> State:
    """What the release allocates for the attention but never reads."""
    table = used['w_msa.0.relative_position_bias_table']
    window = (int(round(len(table)**0.5)) + 1) // 2
    index = _swin_position_index(window)
    copies = OrderedDict()
    for pair in range(tasks * (tasks - 1)):
        copies[f'w_msa.{pair}.relative_position_index'] = index
        for kind in ('weight', 'bias'):
            copies[f'w_msa.{pair}.norm2.{kind}'] = used[f'norm2.0.{kind}']
        if pair == 0:
            continue
        for name, value in used.items():
            for theirs in ('w_msa.0.', 'norm2.0.', 'ffn.0.'):
                if name.startswith(theirs):
                    copies[theirs.replace('0', str(pair)) +
                           name[len(theirs):]] = value
    return copies


def _swin_position_index(window: int) -> Tensor:
    axis = torch.arange(window)
    y, x = (a.flatten() for a in torch.meshgrid(axis, axis, indexing='ij'))
    dy, dx = (a[:, None] - a[None, :] + window - 1 for a in (y, x))
    return dy * (2 * window - 1) + dx
