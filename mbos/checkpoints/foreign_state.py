"""What a state dict has beside the weights of a network.

Hooks and wrappers of other code leave buffers and whole copies of a network
in checkpoints (``ema_model.*``, ``teacher.*``, ``seen_images``), averages
(``ema_*``, of mmcv's ``EMAHook``), and ``module.`` before all names.
"""
import re
from collections.abc import Iterable, Mapping, Sequence

from torch import Tensor

WRAPPERS = ('module.', '_orig_mod.')
"""tuple[str]: Before all names of a network that is wrapped for data
parallelism or averaging, or compiled as a whole."""
PARTS = ('backbone', 'neck', 'decode_head', 'auxiliary_head', 'discriminators',
         'auxiliary_discriminators')
"""tuple[str]: Parts of the segmentors of this package."""
SEGMENTORS = ('MultiTaskSegmentor', 'AdversarialSegmentor')
AVERAGE = 'ema_'
"""str: Before the names of averages that mmcv's ``EMAHook`` makes."""


def without_wrapper(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Names as they are without wrappers around the whole network.

    A wrapper may have a state of its own, such as ``n_averaged``, which keeps
    its name.
    """
    state = dict(state)
    while not any(name.split('.')[0] in PARTS for name in state):
        wrapper = next((w for w in WRAPPERS for name in state
                        if name.startswith(w)), None)  # yapf: disable
        if wrapper is None:
            break
        state = {n.removeprefix(wrapper): v for n, v in state.items()}
    return state


def split_mmcv_average(state: Mapping[str, Tensor]) -> tuple[dict, dict]:
    """Separate weights from the ``ema_*`` buffers of mmcv's ``EMAHook``.

    Returns:
        tuple[dict, dict]: The state without those buffers, and by name of the
        weight the averages that were in them.
    """
    buffers = {AVERAGE + name.replace('.', '_'): name for name in state}
    average = {
        buffers[name]: value
        for name, value in state.items()
        if name in buffers and value.shape == state[buffers[name]].shape
    }
    rest = {k: v for k, v in state.items() if buffers.get(k) not in average}
    return rest, average


def split_foreign(
    state: Mapping[str, Tensor], own: Iterable[str] = ()
) -> tuple[dict[str, Tensor], list[str]]:
    """Separate what belongs to a network from what belongs to nothing in it.

    Names within a part of a network are left alone, whether it has them or
    not: they mean another network, which is an error.

    Args:
        state (dict[str, Tensor]): Under our names.
        own (Iterable[str]): Names of the network's own state, which may have
            parts of the user's. Default: ().

    Returns:
        tuple[dict[str, Tensor], list[str]]: The state of parts of the
        network, and the other names.
    """
    parts = {*PARTS, *(name.split('.')[0] for name in own)}
    kept = {k: v for k, v in state.items() if k.split('.')[0] in parts}
    return kept, [name for name in state if name not in kept]


def own_weights(
    state: Mapping[str, Tensor], own: Iterable[str] = ()
) -> tuple[dict[str, Tensor], list[str]]:
    """A network's weights, mmcv's averages in their place, and nothing else.

    Args:
        own (Iterable[str]): As of :func:`split_foreign`.

    Returns:
        tuple[dict[str, Tensor], list[str]]: The weights, and sentences on what
        was done.
    """
    state, average = split_mmcv_average(state)
    state, foreign = split_foreign({**state, **average}, own)
    notes = []
    if average:
        notes.append(f'{len(average)} weights taken from the average that '
                     "mmcv's EMAHook made (ema_*)")
    if foreign:
        notes.append('left out, as it belongs to no part of the network: '
                     f'{summarize(foreign)}')
    return state, notes


def summarize(names: Sequence[str]) -> str:
    """Names in few words: those that differ in numbers only as one pattern.

    Returns:
        str: Such as ``attn.ffn.*.weight (5), norm.bias``.
    """
    groups: dict[str, list[str]] = {}
    for name in names:
        pattern = re.sub(r'(?<=\.)\d+(?=\.)', '*', name)
        groups.setdefault(pattern, []).append(name)
    return ', '.join(same[0] if len(same) == 1 else f'{pattern} ({len(same)})'
                     for pattern, same in groups.items())
