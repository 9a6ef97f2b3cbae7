"""Whether weights are those of a network, and what to say if they are not."""
import re
from collections.abc import Mapping, Sequence

from torch import Tensor

# A checkpoint of a classifier has no norms of a backbone's outputs, and an old
# one no counters; both keep their initial values.
_MAY_LACK = re.compile(r'^norms?\d*\.|num_batches_tracked$')


def misfits(found: Mapping[str, Tensor], own: Mapping[str,
                                                      Tensor]) -> list[str]:
    """What keeps weights from filling a network.

    Returns:
        list[str]: Missing tensors and those of another shape.
    """
    wrong = [
        f'{key} is missing' for key in own
        if key not in found and not _MAY_LACK.search(key)
    ]
    return wrong + [
        f'{key} has the shape {tuple(value.shape)}, needed '
        f'{tuple(own[key].shape)}' for key, value in found.items()
        if key in own and value.shape != own[key].shape
    ]


def require_fit(wrong: Sequence[str], source: str, network: str) -> None:
    """Refuse weights that do not fit.

    Raises:
        ValueError: If anything is wrong.
    """
    if not wrong:
        return
    shown = '; '.join(wrong[:3])
    more = f'; and {len(wrong) - 3} more' if len(wrong) > 3 else ''
    raise ValueError(
        f'{source} does not hold the weights of {network}: {shown}{more}. '
        'Give weights of the same network, or set model.pretrained=None to '
        'train from scratch.')
