"""What a state dict has that no part of a network here is.

Hooks and wrappers of other code leave buffers and whole copies of a network
in checkpoints (``ema_model.*``, ``teacher.*``, ``seen_images``), and
``module.`` before all names.
"""
from collections.abc import Iterable, Mapping

from torch import Tensor

WRAPPERS = ('module.', '_orig_mod.')
"""tuple[str]: Before all names of a network that is wrapped for data
parallelism or averaging, or compiled as a whole."""
PARTS = ('backbone', 'neck', 'decode_head', 'auxiliary_head', 'discriminators',
         'auxiliary_discriminators')
"""tuple[str]: Parts of the segmentors of this package."""
SEGMENTORS = ('MultiTaskSegmentor', 'AdversarialSegmentor')


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
