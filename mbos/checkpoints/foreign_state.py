"""What a state dict has beside the weights of a network: names of wrappers,
averages (``ema_*``, of mmcv's ``EMAHook``), copies and buffers of other code.
"""
import re
from collections.abc import Iterable, Mapping

from torch import Tensor

from mbos.faults import first_of

PARTS = ('backbone', 'neck', 'decode_head', 'auxiliary_head', 'discriminators',
         'auxiliary_discriminators')
"""tuple[str]: Parts of the segmentors of this package."""
SEGMENTORS = ('MultiTaskSegmentor', 'AdversarialSegmentor')
State = Mapping[str, Tensor]


def without_wrapper(state: State) -> dict[str, Tensor]:
    """Names without what data parallelism, averaging and compiling of the
    whole network put before them."""
    if any(name.split('.')[0] in PARTS for name in state):
        return dict(state)
    wrappers = re.compile(r'^(module\.|_orig_mod\.)+')
    return {wrappers.sub('', name): value for name, value in state.items()}


def split_mmcv_average(state: State) -> tuple[dict, dict]:
    """The weights, and by their names the averages of mmcv's ``EMAHook``."""
    buffers = {'ema_' + name.replace('.', '_'): name for name in state}
    average = {buffers[n]: v for n, v in state.items() if n in buffers}
    return {n: v for n, v in state.items() if n not in buffers}, average


def split_foreign(
    state: State, own: Iterable[str] = ()) -> tuple[dict, list[str]]:
    """What belongs to parts of a network, and the other names.

    Names within a part are kept, whether the network has them or not: they
    mean another network, which is an error. ``own`` are the names of the
    network's own state, which may have parts of the user's.
    """
    parts = {*PARTS, *(name.split('.')[0] for name in own)}
    kept = {n: v for n, v in state.items() if n.split('.')[0] in parts}
    return kept, [name for name in state if name not in kept]


def own_weights(
    state: State, own: Iterable[str] = ()) -> tuple[dict, list[str]]:
    """A network's weights, mmcv's averages in their place and nothing else,
    and sentences on what was done; ``own`` as of :func:`split_foreign`."""
    state, average = split_mmcv_average(state)
    state, foreign = split_foreign({**state, **average}, own)
    notes = []
    if average:
        notes.append(f'{len(average)} weights taken from the average that '
                     "mmcv's EMAHook made (ema_*)")
    if foreign:
        notes.append('left out, as it belongs to no part of the network: '
                     f'{first_of(foreign)}')
    return state, notes
